"""The command line. It assembles the command groups that live beside their features."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from duogen import __version__
from duogen.errors import DuoGenError, InputError

app = typer.Typer(
    name="duogen",
    help="Plans with text and pictures: a multimodal LLM writes, an aligned diffusion transformer paints.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _user_config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "duogen" / "config.toml"


def read_settings(paths: list[Path]) -> dict[str, Any]:
    """Defaults of the commands' options from TOML files, one table a command; later files win.

    Raises:
        InputError: a file isn't TOML.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        if path.is_file():
            import tomllib

            try:
                tables = tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise InputError(f"{path}: not a TOML file ({error})") from error
            for command, options in tables.items():
                if isinstance(options, dict):
                    known = merged.setdefault(command, {})
                    known.update({name.replace("-", "_"): value for name, value in options.items()})
    return merged


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"duogen {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Flags win over DUOGEN_* variables, those over ./duogen.toml, and that over the user's config.toml."""
    ctx.default_map = read_settings([_user_config(), Path("duogen.toml")])


GROUPS = {
    "runs": ("duogen.agent.runs_cli", "List, show, resume, export and delete runs."),
    "train": (
        "duogen.training.cli",
        "Train: the small model from nothing (world); stage 1 and 2 of any model on documents.",
    ),
    "data": ("duogen.training.data_cli", "Make training documents: JSONL, with pictures beside it."),
    "eval": ("duogen.evaluation.cli", "Measure a model."),
}
"""Modules with an `app` of several commands, and what they are for."""


class _Later(TyperGroup):
    """A group of `GROUPS`, whose options aren't read before it is used: that took a seventh of the time of ``duogen --help``."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        module, _ = GROUPS[str(self.name)]
        group = typer.main.get_group(importlib.import_module(module).app)
        group.name, group.help = self.name, self.help
        return group.make_context(info_name, args, parent, **extra)


def _add_commands() -> None:
    from duogen.agent import batch_cli, model_cli, runs_cli
    from duogen.agent import cli as agent_cli
    from duogen.benchmarks import cli as benchmarks_cli
    from duogen.serving import cli as serving_cli

    for command in (
        agent_cli.plan,
        agent_cli.draw,
        agent_cli.edit,
        model_cli.assemble,
        model_cli.export_onnx,
        model_cli.export_mllm,
        model_cli.doctor,
    ):
        app.command()(command)
    for serving in (serving_cli.serve, serving_cli.mcp, serving_cli.ui):
        app.command()(serving)
    app.command()(runs_cli.export)
    app.command()(batch_cli.batch)
    app.command()(benchmarks_cli.bench)
    for name, (_, says) in GROUPS.items():
        app.add_typer(typer.Typer(cls=_Later, help=says), name=name)


_add_commands()


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; every outcome has its exit code (0 done, 1 failed, 2 wrong usage, 3 some of a batch failed, 130 interrupted)."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; errors are explained on stderr."""
    try:
        app(arguments, prog_name="duogen")
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
        if code == 130:
            print(
                "duogen: interrupted; go on with: duogen plan -c FOLDER, or duogen batch ... --resume", file=sys.stderr
            )
        return code
    except DuoGenError as error:
        if "--debug" in arguments:
            raise
        print(f"duogen: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone; there is no one left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if "--debug" in arguments:
            raise
        first = (str(error).splitlines() or [""])[0]
        print(
            f"duogen: unexpected {type(error).__name__}: {first}\nRun again with --debug for details.", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    main()
