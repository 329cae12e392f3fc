"""Parameters of a callable as text can set them: what an annotation takes, and how values are read and written."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

HIDDEN = ("seed", "data_seed", "dataset", "chunking", "n_chunks")
"""Parameters that the program gives: left out of descriptions, and always spelled out where a user sets them."""

GIVEN = ("n_classes", "input_shape", "device", "generator", "network", "training", "keys", "keeps")
"""Parameters that the program alone gives, and no text sets."""

REQUIRED = inspect.Parameter.empty

_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class _Kind:
    """How a type is spoken of."""

    short: str
    spoken: str
    example: str


_KINDS = {
    bool: _Kind("true|false", "true or false", "true"),
    int: _Kind("integer", "an integer", "20"),
    float: _Kind("number", "a number", "20"),
    str: _Kind("text", "text", "text"),
    Path: _Kind("path", "a path", "path"),
    NoneType: _Kind("none", "none", "none"),
}


def settable_of(factory: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of the parameters that text can set, by name, in the order of the signature."""
    settable = {}
    try:
        signature = inspect.signature(factory, eval_str=True)
    except Exception:  # annotations of a user's own that name what is not there: those cannot be set by text
        signature = inspect.signature(factory)
    for parameter in signature.parameters.values():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        named &= parameter.name not in GIVEN
        if named and all(_readable(option) for option in options_of(parameter.annotation)):
            settable[parameter.name] = parameter.annotation, parameter.default
    return settable


@dataclass(frozen=True)
class _Word:
    """One value of a Literal."""

    value: Any


@dataclass(frozen=True)
class _Several:
    """A tuple of any length."""

    options: tuple[Any, ...]
    """Of each part."""


def _readable(option: Any) -> bool:
    if isinstance(option, _Several):
        return all(_readable(each) and not isinstance(each, _Several) for each in option.options)
    return isinstance(option, _Word) or option in _KINDS


def options_of(annotation: Any) -> list[Any]:
    """The types and words that a value may be of, in the order in which to try them."""
    if annotation in (inspect.Parameter.empty, Any):  # a policy of the user's own need not be annotated
        return [int, float, bool, str]
    if annotation is None:
        return [NoneType]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return options_of(arguments[0])
    if origin is Literal:
        return [_Word(value) for value in arguments]
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return [_Several(tuple(options_of(arguments[0])))]
    if origin in (Union, UnionType):
        options = [option for argument in arguments for option in options_of(argument)]
        return sorted(options, key=lambda option: option in (str, Path))  # which take whatever no other type does
    return [annotation]


def read_as(text: str, options: Iterable[Any]) -> Any:
    """The value of a text as the first option that takes it; ValueError where none does."""
    for option in options:
        try:
            return _read(text, option)
        except ValueError:
            continue
    raise ValueError(text)


def _read(text: str, option: Any) -> Any:
    """The value of `text` as one option; ValueError where it is none."""
    if isinstance(option, _Several):
        return tuple(read_as(part.strip(), option.options) for part in text.split("+"))
    if isinstance(option, _Word):
        if text != written(option.value):
            raise ValueError(text)
        return option.value
    if option is NoneType:
        if text != "none":
            raise ValueError(text)
        return None
    if option is bool:
        if text.lower() not in _TRUTH:
            raise ValueError(text)
        return _TRUTH[text.lower()]
    return option(text)


def written(value: Any) -> str:
    """A value as `_read` takes it; whole numbers without a point."""
    if isinstance(value, list | tuple):
        return "+".join(map(written, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    return repr(value).removesuffix(".0").replace("e+", "e")  # as + joins the parts of a list


def spoken(options: Iterable[Any]) -> str:
    """Options in a sentence."""
    options = list(options)
    words = [written(option.value) for option in options if isinstance(option, _Word)]
    choices = [f"one of {', '.join(words)}"] if words else []
    choices += [f"{spoken(each.options)}, joined by +" for each in options if isinstance(each, _Several)]
    return " or ".join(choices + [_KINDS[o].spoken for o in options if not isinstance(o, _Word | _Several)])


def type_of(annotation: Any) -> str:
    """Options in short, as a listing shows them."""
    return "|".join(map(_short, options_of(annotation)))


def _short(option: Any) -> str:
    if isinstance(option, _Several):
        return "+".join(["|".join(map(_short, option.options))] * 2) + "..."
    return written(option.value) if isinstance(option, _Word) else _KINDS[option].short


def example_of(annotation: Any) -> str:
    """A value, as an error suggests one."""
    option = options_of(annotation)[0]
    if isinstance(option, _Several):
        option = option.options[0]
    return written(option.value) if isinstance(option, _Word) else _KINDS[option].example
