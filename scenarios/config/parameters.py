"""Parameters of a callable that text can set: the types of an annotation, and how values are read and written."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

HIDDEN = ("seed", "data_seed", "dataset", "chunking", "n_chunks", "loading")
"""Parameters that the program gives unless a spec sets them; descriptions leave them out."""

GIVEN = ("n_classes", "input_shape", "device", "generator", "network", "training", "keys", "keeps", "features_dir")
"""Parameters that only the program gives."""

REQUIRED = inspect.Parameter.empty

_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class _Kind:
    """The words for a type, in listings and errors."""

    short: str
    phrase: str
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
    """Annotation and default of each parameter that text can set, by name, in the order of the signature."""
    settable = {}
    try:
        signature = inspect.signature(factory, eval_str=True)
    except Exception:  # a user's annotation names something undefined: text cannot set that parameter
        signature = inspect.signature(factory)
    for parameter in signature.parameters.values():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        named &= parameter.name not in GIVEN
        if named and all(_readable(option) for option in options_of(parameter.annotation)):
            settable[parameter.name] = parameter.annotation, parameter.default
    return settable


@dataclass(frozen=True)
class _Choice:
    """One value of a Literal."""

    value: Any


@dataclass(frozen=True)
class _Parts:
    """A tuple of any length."""

    options: tuple[Any, ...]
    """The options of each part."""


def _readable(option: Any) -> bool:
    if isinstance(option, _Parts):
        return all(_readable(each) and not isinstance(each, _Parts) for each in option.options)
    return isinstance(option, _Choice) or option in _KINDS


def options_of(annotation: Any) -> list[Any]:
    """The types and choices of an annotation, in the order in which to try them."""
    if annotation in (inspect.Parameter.empty, Any):  # a user's own policy need not be annotated
        return [int, float, bool, str]
    if annotation is None:
        return [NoneType]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return options_of(arguments[0])
    if origin is Literal:
        return [_Choice(value) for value in arguments]
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return [_Parts(tuple(options_of(arguments[0])))]
    if origin in (Union, UnionType):
        options = [option for argument in arguments for option in options_of(argument)]
        return sorted(options, key=lambda option: option in (str, Path))  # these read any text, so they come last
    return [annotation]


def read_as(text: str, options: Iterable[Any]) -> Any:
    """The value of a text as the first option that can read it; raises ValueError if none can."""
    for option in options:
        with suppress(ValueError):
            return _read(text, option)
    raise ValueError(text)


def _read(text: str, option: Any) -> Any:
    if isinstance(option, _Parts):
        return tuple(read_as(part.strip(), option.options) for part in text.split("+"))
    if isinstance(option, _Choice):
        return _known({written(option.value): option.value}, text)
    if option is NoneType:
        return _known({"none": None}, text)
    if option is bool:
        return _known(_BOOLEANS, text.lower())
    return option(text)


def _known(values: Mapping[str, Any], text: str) -> Any:
    if text not in values:
        raise ValueError(text)
    return values[text]


def written(value: Any) -> str:
    """The text of a value in a spec; whole numbers have no decimal point."""
    if isinstance(value, list | tuple):
        return "+".join(map(written, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    return repr(value).removesuffix(".0").replace("e+", "e")  # as + joins the parts of a list


def in_words(options: Iterable[Any]) -> str:
    """Options as errors name them."""
    options = list(options)
    words = [written(option.value) for option in options if isinstance(option, _Choice)]
    choices = [f"one of {', '.join(words)}"] if words else []
    choices += [f"{in_words(each.options)}, joined by +" for each in options if isinstance(each, _Parts)]
    return " or ".join(choices + [_KINDS[o].phrase for o in options if not isinstance(o, _Choice | _Parts)])


def type_of(annotation: Any) -> str:
    """The options of an annotation as listings show them."""
    return "|".join(map(_short, options_of(annotation)))


def _short(option: Any) -> str:
    if isinstance(option, _Parts):
        return "+".join(["|".join(map(_short, option.options))] * 2) + "..."
    return written(option.value) if isinstance(option, _Choice) else _KINDS[option].short


def example_of(annotation: Any) -> str:
    """A valid value of an annotation, as errors suggest it."""
    option = options_of(annotation)[0]
    if isinstance(option, _Parts):
        option = option.options[0]
    return written(option.value) if isinstance(option, _Choice) else _KINDS[option].example
