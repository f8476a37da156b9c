"""The model of a run before its first stage.

First weights, a start model's extractor, or a whole model that grows.
"""

from __future__ import annotations

from pathlib import Path

import torch

from regiontalk.model.config import ModelConfig
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.model.storage import open_folder
from regiontalk.regions.backbones import Backbone
from regiontalk.regions.config import ExtractorConfig
from regiontalk.regions.crops import CropNetwork
from regiontalk.text.vocabulary import Vocabulary
from regiontalk.train.grow import grow_model, grown_vocabulary, hold_old_rows
from regiontalk.train.inputs import Inputs
from regiontalk.train.recipe import Recipe
from regiontalk.train.round_backbone import check_roundable
from regiontalk.train.vocabulary import all_texts, build_vocabulary
from regiontalk.train.word_vectors import begin_with_vectors


def build_model(
    inputs: Inputs,
    *,
    start: str | None,
    weights: Path | None,
    published: bool,
    vectors: Path | None,
) -> RegionModel:
    """The model before its first stage, on the run's device.

    Args:
        inputs: of the run; learn which word vectors the model began with.
        start: a model whose extractor is taken over, instead of first weights; how boxes become
            vectors is still the recipe's choice.
        weights: a local state dict of the backbone, or of the crops' network where the recipe has
            one.
        published: download the published weights of both.
        vectors: a file of word vectors.

    Raises:
        ValueError: files or models that do not fit the recipe.
    """
    recipe = inputs.recipe
    torch.manual_seed(recipe.seed)
    if inputs.base is not None:
        return _grow(inputs, inputs.base).to(inputs.device)
    start_model = None if start is None else _start_model(start, recipe)
    config = _config(inputs, extractor_sizes(recipe, start))
    is_rounded = start_model is not None and start_model.config.int8_backbone
    if recipe.int8_backbone and not is_rounded:
        check_roundable(config)  # now, for it is done when all is trained
    if start_model is None and inputs.given is None:
        _warn_of_random_boxes(inputs)
    vocabulary = _vocabulary(inputs)
    backbone = crops = None
    if inputs.given is None:
        fetched = published and start_model is None
        backbone, crops = _networks(
            config.extractor, weights, fetched=fetched, crops_fetched=published
        )
    model = RegionModel(
        config=config, vocabulary=vocabulary, backbone=backbone, crops=crops
    )
    if start_model is not None:
        _take_over(model, start_model)
    inputs.vectors = _begin_with_vectors(model, inputs, vectors)
    return model.to(inputs.device)


def _begin_with_vectors(
    model: RegionModel, inputs: Inputs, vectors: Path | None
) -> str:
    """Fill the model's word embeddings from a file, as the recipe wants it.

    A hash of the vectors.
    """
    uses = inputs.recipe.vectors
    embeddings = [
        ("aligner", model.aligner.words.embed, uses.aligner),
        ("generator", model.generator.embed, uses.generator),
    ]
    return begin_with_vectors(embeddings, model.vocabulary, vectors, inputs.log)


def _config(inputs: Inputs, extractor: ExtractorConfig) -> ModelConfig:
    """The configuration of the model that a recipe describes, with this extractor."""
    recipe = inputs.recipe
    return ModelConfig(
        name=recipe.name,
        extractor=extractor,
        aligner=recipe.aligner,
        generator=recipe.generator,
        decoding=recipe.decoding,
        precomputed=None if inputs.given is None else inputs.given.sizes,
        photo_check=recipe.photo_check is not None,
    )


def _vocabulary(inputs: Inputs) -> Vocabulary:
    """The words of the training texts, as often as the recipe wants them seen."""
    recipe = inputs.recipe
    return build_vocabulary(
        inputs.examples,
        inputs.unseen,
        min_count=recipe.min_count,
        unseen_min_count=recipe.sources.unseen_min_count,
        log=inputs.log,
    )


def _take_over(model: RegionModel, start_model: RegionModel) -> None:
    """Give a model the extractor of another one, in the form in which that one has it."""
    if start_model.config.folded:
        model.folded()
    if start_model.config.int8_backbone:
        model.extractor.backbone.use_int8()
        model.config = model.config.model_copy(update={"int8_backbone": True})
    model.extractor.take_over(start_model.extractor)


def _start_model(start: str, recipe: Recipe) -> RegionModel:
    """The model that a run begins with.

    Raises:
        ValueError: the recipe would train what learns no more.
    """
    model = RegionModel.from_folder(resolve_model(start)).trainable()
    _refuse_moving(recipe, model)
    return model


def _refuse_moving(recipe: Recipe, start_model: RegionModel) -> None:
    """Refuse stages that would train a backbone in whole numbers.

    Raises:
        ValueError: names the first.
    """
    if not start_model.config.int8_backbone:
        return
    for name in ("proposer", "joint", "refine"):
        stage = getattr(recipe, name)
        if stage is not None and stage.optimiser.backbone_learning_rate > 0:
            raise ValueError(
                f"[{name}.optimiser] backbone_learning_rate: expected 0, got "
                f"{stage.optimiser.backbone_learning_rate:g}; the start model's backbone "
                "computes in whole numbers and learns no more: begin with --weights instead"
            )


def extractor_sizes(recipe: Recipe, start: str | None) -> ExtractorConfig:
    """The extractor that runs.

    The recipe's, or the start model's, whose boxes become vectors as the recipe has it.
    """
    if start is None:
        return recipe.extractor
    config, _ = open_folder(resolve_model(start), ModelConfig)
    if config.precomputed is not None:
        raise ValueError(
            f"--start {start}: expected a model that looks at photos, got one that "
            "reads given features"
        )
    return config.extractor.model_copy(
        update={"pool": recipe.extractor.pool, "crops": recipe.extractor.crops}
    )


def _networks(
    extractor: ExtractorConfig,
    weights: Path | None,
    *,
    fetched: bool,
    crops_fetched: bool,
) -> tuple[Backbone, CropNetwork | None]:
    """The backbone and, where boxes are read as crops, the network that reads them.

    One takes the local weights.
    """
    backbone = Backbone(
        extractor.backbone, pretrained=fetched, same_padding=extractor.same_padding
    )
    crops = None
    if extractor.crops is not None:
        crops = CropNetwork(extractor.crops, pretrained=crops_fetched)
    if weights is not None:
        (crops or backbone).load_weights(weights)
    return backbone, crops


def _warn_of_random_boxes(inputs: Inputs) -> None:
    """Say so where no stage of a run from first weights teaches the proposals."""
    recipe = inputs.recipe
    photo_stages = (recipe.proposer, recipe.joint, recipe.refine)
    if not inputs.has_boxes:
        reason = "no photo of the data has a box"
    elif not any(stage and stage.weight_proposal for stage in photo_stages):
        reason = "no section [proposer] or [joint] teaches them"
    else:
        return
    inputs.log(f"boxes are random: {reason}, and there is no --start")


def _grow(inputs: Inputs, base: RegionModel) -> RegionModel:
    """The whole start model under the recipe's name, with the words of the photos' texts."""
    recipe, texts = inputs.recipe, list(all_texts(inputs.examples))
    vocabulary = grown_vocabulary(base.vocabulary, texts, recipe.min_count)
    new_words = vocabulary.words[len(base.vocabulary) :]
    some = ", ".join(new_words[:8]) + (", ..." if len(new_words) > 8 else "")
    inputs.log(
        f"vocabulary: {len(base.vocabulary)} words and {len(new_words)} new ones: {some}"
    )
    model = grow_model(base, vocabulary, texts)
    update = {"name": recipe.name, "decoding": recipe.decoding}
    model.config = model.config.model_copy(update=update)
    hold_old_rows(model, len(base.vocabulary), texts)
    return model.eval()
