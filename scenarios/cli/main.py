"""The program: its commands, its errors and its exit codes."""

import contextlib
import inspect
import io
import logging
import os
import re
import signal
import sys
import threading
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from agent.errors import LifetimeError, is_out_of_memory
from scenarios.cli.commands import (
    compare,
    curve,
    evaluate,
    frontier,
    reproduce,
    simulate,
    sweep,
    train_policy,
    tree,
    tune,
)
from scenarios.cli.families import FORMER_COMMANDS, former_command, list_family
from scenarios.cli.resume import resume
from scenarios.cli.show import program
from scenarios.cli.stopping import STOP, Stopped

LONGEST = 1000
"""Most characters of an error message, which may repeat input of any length."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Simulate agents that, for each chunk of a stream, learn (gradient updates) or memorize (a key-value cache).",
)
for command in (
    simulate,
    compare,
    reproduce,
    sweep,
    tune,
    curve,
    tree,
    train_policy,
    evaluate,
    frontier,
    resume,
    list_family,
):
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    # Typer keeps the line breaks of a docstring, which need not fit the terminal.
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command("list" if command is list_family else None, help=text)(command)
for former in FORMER_COMMANDS:
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    app.command(former, hidden=True, context_settings=anything)(former_command(former))
# The base class of errors in the command line; newer versions of Typer contain their own Click.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run the command line; an error is one line and exit code 2."""
    STOP.install()
    _quieten_libraries()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # some terminals cannot show θ
    # TensorBoard writes in a thread; if the disk is full, the main thread reports the same error.
    threading.excepthook = lambda failed: (
        None if issubclass(failed.exc_type, OSError) else threading.__excepthook__(failed)
    )
    try:
        code = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except LifetimeError as error:
        _fail(str(error), 2)
    except _UsageError as error:
        if not error.format_message():  # type: ignore[attr-defined]
            sys.exit(0)  # no command was given, and the help was printed
        _fail(error.format_message().replace("\n", " "), 2)  # type: ignore[attr-defined]
    except OSError as error:
        if sys.stdout is not None:  # the buffered output would fail again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        _fail(f"expected to read and write, got: {error}; all saved results are kept, the same command shows them", 2)
    except Stopped as stopped:
        _fail(f"interrupted; {stopped.advice or 'the same command continues'}", 128 + stopped.number)
    except Exception as error:
        if is_out_of_memory(error):
            advice = "a smaller --network, batch of --recipe or --test-size"
            _fail(f"expected enough memory, got: {_last_line(error)}; {advice}", 2)
        raise
    sys.exit(code)


def _quieten_libraries() -> None:
    """Hide the warnings of libraries; what this program logs becomes a line on the error stream."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())  # without any handler Python prints warnings itself
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    for package in ("agent", "scenarios"):
        logging.getLogger(package).addHandler(handler)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["out of memory"])[-1]


def _fail(message: str, code: int) -> None:
    message = re.sub(r"\x1b\[[0-9;]*m", "", message).replace("\n", "\\n").replace("\r", "\\r")
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
    print("error:", message, file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if show_version:
        print(f"learn-or-memorize {version('learn-or-memorize')}")
        raise typer.Exit


@app.command()
def view(
    runs: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)] = 6006,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "localhost",
) -> None:
    """Serve TensorBoard on the runs until interrupted."""
    if not runs.is_dir():
        raise LifetimeError(f"expected a folder of runs at {runs}, found none; run `{program()} curve`, or give --runs")
    logging.disable(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tensorboard import program as tensorboard

    board = tensorboard.TensorBoard()
    board.configure(argv=[None, "--logdir", str(runs), "--port", str(port), "--host", host, "--load_fast", "false"])
    try:
        address = board.launch()
    except tensorboard.TensorBoardServerException as error:
        raise LifetimeError(f"expected to serve TensorBoard at {host}:{port}, got: {error}; give --port") from None
    # Curves have few points: smoothing would move the last one far from its value.
    print(f"TensorBoard on {runs}: {address}?smoothing=0#timeseries (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(Stopped):
        signal.pause()
