"""The ``regiontalk`` command: its verbs, and what a user sees when something is wrong.

What a user can cause (a missing file, a broken photo, a bad box) is one line on stderr and exit
code 2. A folder in which some photos failed ends with their list and exit code 1. Anything else is
a fault of ours and shows its traceback. Heavy modules are imported inside the verbs, so that
``--help`` and mistakes answer at once.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from regiontalk.cli import (
    align,
    caption,
    caption_check,
    corrections,
    data,
    evaluate,
    export,
    index,
    info,
    locate,
    mcp,
    narrate,
    objects,
    runtime,
    scale,
    search,
    serve,
    snippets,
    teach,
    train,
)
from regiontalk.cli.options import one_line, rename_options

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# ImportError: an extra that is not installed
USER_ERRORS = (ValueError, KeyError, OSError, ImportError)
# The parent of all mistakes on the command line, in click or in typer's own copy of it, by typer's
# version.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]


class OneLineErrors(TyperGroup):
    """Turns what a user can cause into one line and exit code 2.

    REGIONTALK_TRACEBACK=1 shows where it came from.
    """

    # The context is a click.Context, or typer's own copy of that class, by typer's version.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb and its arguments, those of an earlier version renamed."""
        verb, *arguments = args
        return super().resolve_command(ctx, [verb, *rename_options(verb, arguments)])

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        warnings.showwarning = _tell_warning
        for stream in (sys.stdout, sys.stderr):
            # What a terminal's code page lacks is escaped: it must not cost a result.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `| head` closed the pipe: nobody is left to tell
            raise
        except USAGE_ERROR as error:
            typer.echo(f"regiontalk: {_usage(error)}", err=True)
            raise typer.Exit(2) from error
        except USER_ERRORS as error:
            if os.environ.get("REGIONTALK_TRACEBACK") == "1":
                raise
            typer.echo(f"regiontalk: {one_line(error)}", err=True)
            raise typer.Exit(2) from error


def _tell_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning of ours as a line without the place in our code; others as Python does."""
    if filename == "regiontalk" or filename.startswith(PACKAGE):
        typer.echo(f"note: {message}", err=True)
        return
    text = warnings.formatwarning(message, category, filename, lineno, line)
    stream = file or sys.stderr
    stream.write(text)


def _usage(error: Any) -> str:
    """A mistake on the command line in one line, with the help that shows the right way."""
    text = " ".join(error.format_message().split()).rstrip(".")
    if error.ctx is None:
        return text
    return f"{text} (see {error.ctx.command_path} --help)"


app = typer.Typer(
    cls=OneLineErrors,
    rich_markup_mode=None,  # plain help: no boxes, no type after every flag
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Point at any part of a photo and get words; give it words and get the place.",
)
app.command("caption")(caption.caption)
app.command("align")(align.align)
app.command("locate")(locate.locate)
app.add_typer(index.app, name="index")
app.command("search")(search.search)
app.command("narrate")(narrate.narrate)
app.command("export")(export.export)
app.command("import")(corrections.import_corrections)
app.command("objects")(objects.objects)
app.command("snippets")(snippets.snippets)
app.command("train")(train.train)
app.command("teach")(teach.teach)
app.add_typer(data.app, name="data")
app.command("evaluate")(evaluate.evaluate)
app.command("export-runtime")(runtime.export_runtime)
app.command("round-backbone")(runtime.round_backbone)
app.command("teach-check")(caption_check.teach_check)
app.add_typer(scale.app, name="scale")
app.command("info")(info.info)
app.command("serve")(serve.serve)
app.command("mcp")(mcp.mcp)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"regiontalk {version('regiontalk')}")
    except PackageNotFoundError:
        typer.echo("regiontalk, run from a folder that is not installed")
    raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the version and stop.",
        ),
    ] = False,
) -> None:
    pass
