"""Members of families by name: `name:key=value,...` on the command line.

A family is a mapping from names to callables; a callable's parameters are its settings, converted as annotated (bool,
int, float, str, Path, Literal, None, unions and tuples of them), and its docstring is its help. A value without a key
is the first of them; the parts of a tuple are joined by `+`. Parameters of any other type cannot be set by text: the
program gives them.
"""

import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from agent.errors import InvalidSetting, LifetimeError
from scenarios.config.families import POLICY, Family

HIDDEN = ("seed", "data_seed", "dataset", "chunking", "n_chunks")
"""Parameters that the program gives: left out of descriptions, and always spelled out where a user sets them."""

GIVEN = ("n_classes", "input_shape", "device", "generator", "network", "training", "keys", "keeps")
"""Parameters that the program alone gives, and no text sets."""

FILE = "file"
"""The name of policies that are read from a file: `file:PATH`, where all that follows the colon is the path."""

_REQUIRED = inspect.Parameter.empty
_NAME = re.compile(r"[^\W\d][\w-]*(\.[^\W\d]\w*)*")
_KEY = re.compile(r"[^\W\d]\w*")
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


@dataclass(frozen=True)
class Spec:
    """What `name:key=value,...` says, unchecked against any family."""

    name: str
    settings: dict[str, str]
    """By key; the first may be under "", which stands for whatever parameter comes first."""

    def __str__(self) -> str:
        pairs = ",".join(f"{key}={value}" if key else value for key, value in self.settings.items())
        return f"{self.name}:{pairs}" if pairs else self.name


@dataclass(frozen=True)
class Parameter:
    """A setting, described for people."""

    name: str
    type: str
    default: str
    """As it would be written; "required" where there is none."""
    help: str


@dataclass(frozen=True)
class Described:
    """A member of a family, described for people."""

    name: str
    summary: str
    source: str
    """From the section `References:` of the docstring; empty where there is none."""
    parameters: tuple[Parameter, ...]


def split_specs(text: str) -> list[str]:
    """The specs in a text, separated by blanks or semicolons: `static:k=20; interleaved:k=20 loss`.

    Raises:
        InvalidSetting: a text without any; a path of a policy file that was split.
    """
    specs = [spec for spec in re.split(r"[;\s]+", text) if spec]
    if not specs:
        raise InvalidSetting(
            "expected names with their settings, separated by blanks or semicolons, as in 'static:k=20 loss', got none"
        )
    from_file = next((spec for spec in specs if spec.startswith(f"{FILE}:")), "")
    for spec in specs if from_file else ():
        name = spec.partition(":")[0]
        if "/" in name or name.endswith(".json"):
            raise InvalidSetting(
                f"expected paths without blanks and semicolons in a list of policies, got {_shown(spec)} beside "
                f"{_shown(from_file)}; link or rename the policy file"
            )
    return specs


def parse(text: str) -> Spec:
    """Read `name` or `name:key=value,...`; blanks around names, keys and values do not count.

    The first value may come without its key.

    `file:PATH` has one setting, path: all of the rest, in its shortest spelling.

    Raises:
        InvalidSetting: any other text, or a key that comes twice.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not _NAME.fullmatch(name):
        raise InvalidSetting(f"expected a name, with settings as in static:k=20, got {_shown(text)}")
    if name == FILE:
        path = Path(rest).as_posix()  # without .. taken away, which may lead through a link
        if not rest or not path.isprintable() or path != path.strip():
            raise InvalidSetting(f"expected the path of a policy file, as in file:policy.json, got {_shown(text)}")
        return Spec(FILE, {"path": path})
    settings: dict[str, str] = {}
    for pair in rest.split(",") if colon else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals and not settings:
            key, value = "", key
        named = bool(_KEY.fullmatch(key)) if equals else not settings
        if not named or not value or not value.isprintable():
            raise InvalidSetting(
                f"expected settings key=value, separated by commas, after '{name}:', got {_shown(pair.strip())}"
            )
        if key in settings:
            raise InvalidSetting(f"expected each setting of {name} once, got {key} twice")
        settings[key] = value
    return Spec(name, settings)


def make(text: str, family: Family, /, **given: Any) -> Any:
    """What a spec names, built with its settings.

    Args:
        text: the spec, `name:key=value,...`; of families that take a user's own, also
            `package.module.Class:key=value,...`. A policy may be `file:PATH`.
        family: the members to choose from.
        given: further arguments, passed on where the signature has them and the spec does not set them.

    Raises:
        InvalidSetting: a malformed spec, an unknown name, an unknown, missing or unreadable setting, or whatever the
            callable refuses.
    """
    spec = parse(text)
    factory = _find(spec.name, family)
    settings = _converted(spec, factory)
    parameters = inspect.signature(factory).parameters
    arguments = {name: value for name, value in given.items() if name in parameters} | settings
    missing = {
        name: annotation
        for name, (annotation, default) in _settable(factory).items()
        if default is inspect.Parameter.empty and name not in arguments
    }
    if missing:
        example = ",".join(f"{name}={_example(annotation)}" for name, annotation in missing.items())
        raise InvalidSetting(
            f"expected {'a setting' if len(missing) == 1 else 'settings'} {', '.join(missing)} for {spec.name}, "
            f"as in {spec.name}:{example}"
        )
    if spec.name in family.members:
        return factory(**arguments)
    try:
        return factory(**arguments)
    except LifetimeError:
        raise
    except (Exception, SystemExit) as error:  # code of the user's own
        raise InvalidSetting(f"expected {spec.name} to take its settings, got {_one_line(error)}") from error


def canonical(text: str, family: Family, *, full: bool = False) -> str:
    """The one spelling of a spec: settings in the order of the signature, without those that are at their default.

    Args:
        text: the spec.
        family: of what it names.
        full: with all settings that have a value, hidden ones excepted.

    Raises:
        InvalidSetting: as `make`, but for missing settings and what the callable refuses.
    """
    spec = parse(text)
    factory = _find(spec.name, family)
    if spec.name == FILE:
        return f"{FILE}:{spec.settings['path']}"
    settings = _converted(spec, factory)
    pairs = []
    for name, (_, default) in _settable(factory).items():
        value = settings.get(name, default)
        told = name in settings if name in HIDDEN else value != default or (full and value not in (None, _REQUIRED, ()))
        if told and value is not _REQUIRED:
            pairs.append(f"{name}={_written(value)}")
    return f"{spec.name}:{','.join(pairs)}" if pairs else spec.name


def file_name(text: str) -> str:
    """A name for files and folders, like `static-k20`: different specs have different ones on any file system.

    Give it the canonical spelling. What is not made of small letters and plain numbers ends in a digest of the spec.

    Raises:
        InvalidSetting: a malformed spec.
    """
    spec = parse(text)
    parts, plain = [spec.name], re.fullmatch(r"[a-z]+(-[a-z]+)*", spec.name) is not None
    for key, value in spec.settings.items():
        # read backwards without doubt: a part that ends in a digit is key and number, another is key, _ and word
        number = re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) is not None
        parts.append(f"{key}{value}" if number else f"{key}_{value}")
        plain &= re.fullmatch(r"[a-z]+(_[a-z]+)*", key) is not None
        plain &= number or re.fullmatch(r"[a-z]+", value) is not None
    name = "-".join(parts)
    if plain and len(name) <= 80:
        return name
    digest = hashlib.sha256(repr((spec.name, list(spec.settings.items()))).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-z0-9_.]+', '-', name.lower())[:80].strip('-.')}-{digest}".lstrip("-")


def laid_over(base: str, text: str, family: Family) -> str:
    """A spec with the settings of another in front of its own, if both name the same; else as it stands.

    Raises:
        InvalidSetting: a malformed spec.
    """
    before, spec = parse(base), parse(text)
    if before.name != spec.name or spec.name == FILE:
        return text
    if "" in spec.settings or "" in before.settings:
        before, spec = (_spelled_out(each, _find(spec.name, family)) for each in (before, spec))
    return str(Spec(spec.name, before.settings | spec.settings))


def spelled(value: Any) -> Any:
    """The text of a spec that is given as a table: `{name = "static", k = 20}` is `static:k=20`; other values as is.

    Raises:
        InvalidSetting: a table without a name, or with a value that no spec can hold.
    """
    if not isinstance(value, Mapping):
        return value
    settings = {str(key): _written(part) for key, part in value.items() if key != "name"}
    odd = [key for key, text in settings.items() if not _KEY.fullmatch(key) or re.search(r"[,;\s]", text)]
    if not isinstance(value.get("name"), str) or odd:
        raise InvalidSetting(
            f"expected a table with a name and settings without commas and blanks, got {_shown(repr(dict(value)))}"
        )
    return str(Spec(value["name"], settings))


def describe(family: Mapping[str, Callable[..., Any]], hidden: tuple[str, ...] = HIDDEN) -> list[Described]:
    """Every member of a family with its docstring's first line, source and settings.

    Args:
        family: callables with Google-style docstrings, by name.
        hidden: parameters to leave out.
    """
    described = []
    for name, factory in family.items():
        sections = _sections(inspect.getdoc(factory) or "")
        helps = _entries(sections.get("Args", ""))
        parameters = tuple(
            Parameter(
                key,
                _type(annotation),
                "required" if default is inspect.Parameter.empty else _written(default),
                helps.get(key, ""),
            )
            for key, (annotation, default) in _settable(factory).items()
            if key not in hidden
        )
        summary = sections[""].partition("\n")[0]
        described.append(Described(name, summary, " ".join(sections.get("References", "").split()), parameters))
    return described


def find(text: str, family: Family) -> Callable[..., Any]:
    """What a spec names, not called yet; raises InvalidSetting for a malformed spec or an unknown name."""
    return _find(parse(text).name, family)


def _find(name: str, family: Family) -> Callable[..., Any]:
    if name in family.members:
        return family.members[name]
    reads_files = family.name == POLICY.name
    if reads_files and name == FILE:
        return _from_file()
    if family.own and "." in name:
        return _imported(name, family)
    own = f"{', file:PATH' if reads_files else ''} or package.module.Class" if family.own else ""
    raise InvalidSetting(
        f"expected a {family.name} out of {', '.join(family.members)}{own}, got {name}; "
        f"`lifetime list {family.plural}` shows them"
    )


def _from_file() -> Any:
    """What makes a policy of a path."""
    from agent.policies.file import policy_from_file  # brings torch, which the command line's --help must not wait for

    return policy_from_file


def _imported(path: str, family: Family) -> Any:
    """The class at `package.module.Class`, looked for in the current directory first, as `python -m` does."""
    module_name, _, class_name = path.rpartition(".")
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise InvalidSetting(
                f"expected a module {module_name} in the current directory or among the installed ones, got none for "
                f"{family.name} {path}; check the spelling, or run where {module_name.split('.')[0]} lies"
            ) from error
        raise InvalidSetting(f"expected module {module_name} to import, got {_one_line(error)}") from error
    except (Exception, SystemExit) as error:  # code of the user's own, which may do anything
        raise InvalidSetting(f"expected module {module_name} to import, got {_one_line(error)}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise InvalidSetting(f"expected a class {class_name} in module {module_name}, got none of that name")
    base = family.base_class
    if base is not None and not (inspect.isclass(found) and issubclass(found, base)):
        named = f"{family.base.partition(':')[0].removesuffix('.protocol')}.{base.__name__}"
        raise InvalidSetting(f"expected {path} to be a subclass of {named}, got {_kind_of(found)}")
    if inspect.isabstract(found):
        lacks = ", ".join(sorted(found.__abstractmethods__))
        raise InvalidSetting(f"expected {path} to define {lacks}, got a class without; override it")
    if not (inspect.isclass(found) if family.classes else callable(found)):
        raise InvalidSetting(
            f"expected {path} to be a {'class' if family.classes else 'callable'}, got {_kind_of(found)}"
        )
    return found


def _kind_of(found: Any) -> str:
    return "another class" if inspect.isclass(found) else f"an object of type {type(found).__name__}"


def _settable(factory: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of the parameters that text can set, by name, in the order of the signature."""
    settable = {}
    try:
        signature = inspect.signature(factory, eval_str=True)
    except Exception:  # annotations of a user's own that name what is not there: those cannot be set by text
        signature = inspect.signature(factory)
    for parameter in signature.parameters.values():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        named &= parameter.name not in GIVEN
        if named and all(_readable(option) for option in _options(parameter.annotation)):
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


def _options(annotation: Any) -> list[Any]:
    """The types and words that a value may be of, in the order in which to try them."""
    if annotation in (inspect.Parameter.empty, Any):  # a policy of the user's own need not be annotated
        return [int, float, bool, str]
    if annotation is None:
        return [NoneType]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _options(arguments[0])
    if origin is Literal:
        return [_Word(value) for value in arguments]
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return [_Several(tuple(_options(arguments[0])))]
    if origin in (Union, UnionType):
        options = [option for argument in arguments for option in _options(argument)]
        return sorted(options, key=lambda option: option in (str, Path))  # which take whatever no other type does
    return [annotation]


def _spelled_out(spec: Spec, factory: Callable[..., Any]) -> Spec:
    """With the key of a first value that came without."""
    if "" not in spec.settings:
        return spec
    first = next((name for name in _settable(factory) if name not in HIDDEN), None)
    if first is None:
        raise InvalidSetting(f"expected no settings for {spec.name}, got {spec.settings['']}")
    if first in spec.settings:
        raise InvalidSetting(f"expected each setting of {spec.name} once, got {first} twice")
    return Spec(spec.name, {key or first: value for key, value in spec.settings.items()})


def _converted(spec: Spec, factory: Callable[..., Any]) -> dict[str, Any]:
    settable = _settable(factory)
    settings = {}
    for key, text in _spelled_out(spec, factory).settings.items():
        if key not in settable:
            shown = [name for name in settable if name not in HIDDEN]
            expected = f"settings of {spec.name} out of {', '.join(shown)}" if shown else f"no settings for {spec.name}"
            raise InvalidSetting(f"expected {expected}, got {key}")
        options = _options(settable[key][0])
        try:
            settings[key] = _first_that_reads(text, options)
        except ValueError:
            raise InvalidSetting(f"expected {key} of {spec.name} to be {_spoken(options)}, got {text}") from None
    return settings


def _first_that_reads(text: str, options: Iterable[Any]) -> Any:
    for option in options:
        try:
            return _read(text, option)
        except ValueError:
            continue
    raise ValueError(text)


def _read(text: str, option: Any) -> Any:
    """The value of `text` as one option; ValueError where it is none."""
    if isinstance(option, _Several):
        return tuple(_first_that_reads(part.strip(), option.options) for part in text.split("+"))
    if isinstance(option, _Word):
        if text != _written(option.value):
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


def _written(value: Any) -> str:
    """A value as `_read` takes it; whole numbers without a point."""
    if isinstance(value, list | tuple):
        return "+".join(map(_written, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    return repr(value).removesuffix(".0").replace("e+", "e")  # as + joins the parts of a list


def _spoken(options: Iterable[Any]) -> str:
    options = list(options)
    words = [_written(option.value) for option in options if isinstance(option, _Word)]
    choices = [f"one of {', '.join(words)}"] if words else []
    choices += [f"{_spoken(each.options)}, joined by +" for each in options if isinstance(each, _Several)]
    return " or ".join(choices + [_KINDS[o].spoken for o in options if not isinstance(o, _Word | _Several)])


def _type(annotation: Any) -> str:
    return "|".join(map(_short, _options(annotation)))


def _short(option: Any) -> str:
    if isinstance(option, _Several):
        return "+".join(["|".join(map(_short, option.options))] * 2) + "..."
    return _written(option.value) if isinstance(option, _Word) else _KINDS[option].short


def _example(annotation: Any) -> str:
    option = _options(annotation)[0]
    if isinstance(option, _Several):
        option = option.options[0]
    return _written(option.value) if isinstance(option, _Word) else _KINDS[option].example


def _sections(docstring: str) -> dict[str, str]:
    """The parts of a Google-style docstring by their headings, dedented; what comes before the first is under ""."""
    sections: dict[str, list[str]] = {"": []}
    heading = ""
    for line in docstring.splitlines():
        if re.fullmatch(r"[A-Z]\w+:", line):
            heading = line[:-1]
            sections[heading] = []
        elif line and not line.startswith(" ") and heading:
            heading = ""  # text after a section belongs to none
        else:
            sections[heading].append(line)
    return {heading: inspect.cleandoc("\n".join(["", *lines])) for heading, lines in sections.items()}


def _entries(section: str) -> dict[str, str]:
    """Help by parameter, from the section Args."""
    entries: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        started = re.match(r"(\w+)(?: \(.*?\))?: *(.*)", line)
        if started:
            name, entries[started[1]] = started[1], started[2]
        elif name:
            entries[name] = f"{entries[name]} {line.strip()}".strip()
    return entries


def _shown(text: str) -> str:
    """Text that may be anything, on one line."""
    return (text if text.isprintable() else repr(text)) or "nothing"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
