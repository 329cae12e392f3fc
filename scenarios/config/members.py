"""Find, import and make members of families by their specs.

A member is a callable. Its parameters are its settings, converted to their annotations (bool, int, float, str, Path,
Literal, None, and unions and tuples of them); its docstring is its help. Text cannot set parameters of other types: the
program gives them.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting, LifetimeError
from scenarios.config.families import POLICY, Family
from scenarios.config.parameters import (
    HIDDEN,
    REQUIRED,
    example_of,
    in_words,
    options_of,
    read_as,
    settable_of,
    written,
)
from scenarios.config.specs import FILE, PATHS, Spec, parse


@dataclass(frozen=True)
class Member:
    """A member of a family, with settings: a spec that was read and checked.

    Two specs of one meaning are equal members. As text a member is its canonical spec: settings in the order of the
    signature, without defaults, or with them where the family is written in full.
    """

    family: Family
    name: str
    settings: Mapping[str, Any]
    """Values by name, in the order of the signature."""

    @classmethod
    def read(cls, text: str, family: Family) -> "Member":
        """The member that a spec names.

        Args:
            text: `name:key=value,...`, or `package.module.Class:key=value,...` for a user's own member. A policy may
                be `file:PATH`.
            family: the family of the member.

        Raises:
            InvalidSetting: a malformed spec, an unknown name, or an unknown or unreadable setting.
        """
        spec = parse(text)
        factory = _find(spec.name, family)
        given = _converted(spec, factory)
        settings = {}
        for name, (annotation, default) in settable_of(factory).items():
            # `none` stays even where it is the default: it may override another value that a base sets.
            always = name in HIDDEN or spec.name in PATHS or (family.in_full and given.get(name, default) is None)
            if name in given and (always or given[name] != default):
                settings[name] = given[name]
            elif family.in_full and name not in HIDDEN and default not in (REQUIRED, (), None):
                with suppress(ValueError):  # a default that no text means
                    settings[name] = read_as(written(default), options_of(annotation))
        return cls(family, spec.name, settings)

    @property
    def spec(self) -> Spec:
        """Its canonical spec."""
        return Spec(self.name, {name: written(value) for name, value in self.settings.items()})

    def __str__(self) -> str:
        return str(self.spec)

    def __repr__(self) -> str:
        return f"<{self.family.name} {self}>"

    def __hash__(self) -> int:
        return hash((self.family.name, str(self)))

    @property
    def factory(self) -> Callable[..., Any]:
        """The callable that makes it."""
        return _find(self.name, self.family)

    @property
    def is_own(self) -> bool:
        """Whether it is a user's own, by import path."""
        return "." in self.name

    @property
    def path(self) -> Path | None:
        """The file or folder that it is read from; None for a member of another kind."""
        return self.settings["path"] if self.name in PATHS else None

    def arguments(self, **given: Any) -> dict[str, Any]:
        """The arguments of its callable.

        Args:
            given: further arguments, for those parameters of the callable that the spec does not set.

        Raises:
            InvalidSetting: a setting is missing.
        """
        factory = self.factory
        parameters = inspect.signature(factory).parameters
        arguments = {name: value for name, value in given.items() if name in parameters} | dict(self.settings)
        missing = {
            name: annotation
            for name, (annotation, default) in settable_of(factory).items()
            if default is REQUIRED and name not in arguments
        }
        if missing:
            example = ",".join(f"{name}={example_of(annotation)}" for name, annotation in missing.items())
            raise InvalidSetting(
                f"expected {'a setting' if len(missing) == 1 else 'settings'} {', '.join(missing)} for {self.name}, "
                f"as in {self.name}:{example}"
            )
        return arguments

    def make(self, **given: Any) -> Any:
        """Make it; `given` are those of `arguments`.

        Raises:
            InvalidSetting: a setting is missing, or the callable raised an error or returned something else.
        """
        arguments = self.arguments(**given)
        if not self.is_own:
            return self.factory(**arguments)
        try:
            found = self.factory(**arguments)
        except LifetimeError:
            raise
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise InvalidSetting(f"expected {self.name} to take its settings, got {_one_line(error)}") from error
        family = self.family
        if family.result_class and not isinstance(found, family.result_class):
            wanted = family.result.replace(":", ".")
            raise InvalidSetting(f"expected {self.name} to return {wanted}, got {_kind_of(found)}")
        return found


def make(text: str, family: Family, /, **given: Any) -> Any:
    """Make the member that a spec names; see `Member.read` and `Member.make`."""
    return Member.read(text, family).make(**given)


def merged(base: str, text: str, family: Family) -> str:
    """A spec with the settings of `base` that it does not set, if both name the same member; else the spec itself.

    Raises:
        InvalidSetting: a malformed spec.
    """
    before, spec = parse(base), parse(text)
    if before.name != spec.name or spec.name in PATHS:
        return text
    if "" in spec.settings or "" in before.settings:
        before, spec = (_with_keys(each, _find(spec.name, family)) for each in (before, spec))
    return str(Spec(spec.name, before.settings | spec.settings))


def _find(name: str, family: Family) -> Callable[..., Any]:
    if name in family.members:
        return family.members[name]
    reads_files = family.name == POLICY.name
    if reads_files and name == FILE:
        from agent.policies.file import policy_from_file  # imports torch, which `--help` must not wait for

        return policy_from_file
    if "." in name:
        return _imported(name, family)
    files = ", file:PATH" if reads_files else ""
    raise InvalidSetting(
        f"expected {_with_article(family.name)} out of {', '.join(family.members)}{files} or package.module.Class, got "
        f"{name}; `lifetime list {family.plural}` shows them"
    )


def _imported(path: str, family: Family) -> Any:
    """The class at `package.module.Class`; as with `python -m`, the current directory comes first."""
    module_name, _, class_name = path.rpartition(".")
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise InvalidSetting(
                f"expected a module {module_name} in the current directory or among the installed ones, got none for "
                f"{family.name} {path}; check the spelling, or run in the folder of {module_name.split('.')[0]}"
            ) from error
        raise InvalidSetting(f"expected module {module_name} to import, got {_one_line(error)}") from error
    except (Exception, SystemExit) as error:  # the user's code may raise anything
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
    if not (callable(found) if family.result else inspect.isclass(found)):
        kind = "callable" if family.result else "class"
        raise InvalidSetting(f"expected {path} to be a {kind}, got {_kind_of(found)}")
    return found


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _kind_of(found: Any) -> str:
    return "another class" if inspect.isclass(found) else f"an object of type {type(found).__name__}"


def _with_keys(spec: Spec, factory: Callable[..., Any]) -> Spec:
    """The spec with the key of its first value, if that has none."""
    if "" not in spec.settings:
        return spec
    first = next((name for name in settable_of(factory) if name not in HIDDEN), None)
    if first is None:
        raise InvalidSetting(f"expected no settings for {spec.name}, got {spec.settings['']}")
    if first in spec.settings:
        raise InvalidSetting(f"expected each setting of {spec.name} once, got {first} twice")
    return Spec(spec.name, {key or first: value for key, value in spec.settings.items()})


def _converted(spec: Spec, factory: Callable[..., Any]) -> dict[str, Any]:
    settable = settable_of(factory)
    settings = {}
    for key, text in _with_keys(spec, factory).settings.items():
        if key not in settable:
            shown = [name for name in settable if name not in HIDDEN]
            expected = f"settings of {spec.name} out of {', '.join(shown)}" if shown else f"no settings for {spec.name}"
            raise InvalidSetting(f"expected {expected}, got {key}")
        options = options_of(settable[key][0])
        try:
            settings[key] = read_as(text, options)
        except ValueError:
            raise InvalidSetting(f"expected {key} of {spec.name} to be {in_words(options)}, got {text}") from None
    return settings


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
