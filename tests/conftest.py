"""What several test files need: the data beside the checkout, and a small data set in the official layout."""

from pathlib import Path

import pytest

from regiontalk.datasets.toy import make_scenes, write_scenes


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("../shared is absent")
    return folder


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """flickr8k/ and flickr30k_entities/ with 12 training and 6 dev scenes."""
    folder = tmp_path_factory.mktemp("toy")
    write_scenes({"train": make_scenes(12, 1), "dev": make_scenes(6, 2)}, folder)
    return folder
