import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Optional

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.policies import (
    POLICIES,
    LinearPolicy,
    LossPolicy,
    Policy,
    PolicyFile,
    RandomPolicy,
    StaticPolicy,
    policy_file_text,
)
from scenarios.config.described import Described, Parameter, describe
from scenarios.config.families import FAMILIES, POLICY, SCENARIO, TARIFF
from scenarios.config.members import Member, make
from scenarios.config.specs import Spec, file_name, parse, spelled, split_specs
from tests.agent.policies.test_policies import EXAMPLES
from tests.agent.toys import same


def world(
    n_chunks: int,
    size: int = 8,
    blur: float | None = None,
    order: Literal["random", "by-class", 3] = "random",
    folder: Path = Path("data"),
    mirrored: bool = False,
    title: Optional[str] = None,  # noqa: UP045
    share: Annotated[float, "0 to 1"] = 0.5,
    dataset: list[int] | None = None,
    *,
    seed: int = 0,
) -> dict:
    """A world for tests.

    More about it.

    Args:
        n_chunks: given by the program.
        size: of an image
            in pixels: a whole number.
        order (str): of the classes.

    Raises:
        Nothing: at all.

    References:
        Somebody, "Something",
        1999.
    """
    return dict(locals())


def bare() -> str:
    return "bare"


def both(a: Literal["x", "y"], b: bool) -> None: ...


WORLDS: dict[str, Callable] = {"world": world, "bare": bare}
BOTH: dict[str, Callable] = {"both": both}
HERE = "tests.scenarios.config.test_specs"
WORLD = replace(SCENARIO, registry=f"{HERE}:WORLDS")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("static", Spec("static", {})),
        ("static:k=20", Spec("static", {"k": "20"})),
        ("static: 20", Spec("static", {"": "20"})),
        ("a:1+2,b=3", Spec("a", {"": "1+2", "b": "3"})),
        (" a-b : c = d=e , f=1:2 ", Spec("a-b", {"c": "d=e", "f": "1:2"})),
        ("package.module.Class:k=1", Spec("package.module.Class", {"k": "1"})),
    ],
)
def test_specs_are_read(text: str, spec: Spec) -> None:
    assert parse(text) == spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("random:0.25", "random:p=0.25,both=false"),
        ("static:20", "static:k=20,both=false"),
        ("loss", "loss:threshold=1,relative=true,both=false"),
    ],
)
def test_in_full_every_setting_has_a_value_and_the_first_its_key(text: str, expected: str) -> None:
    assert str(Member.read(text, replace(POLICY, in_full=True))) == expected


def test_a_first_value_without_a_key_comes_once_and_first() -> None:
    with pytest.raises(InvalidSetting, match="expected each setting of static once, got k twice"):
        make("static:20,k=30", POLICY)
    with pytest.raises(InvalidSetting, match="expected settings key=value, separated by commas, after 'loss:', got 2"):
        make("loss:threshold=1,2", POLICY)
    with pytest.raises(InvalidSetting, match="expected no settings for bare, got 3"):
        make("bare:3", WORLD)


def listed(places: tuple[str, ...] = (), sizes: tuple[int, ...] | None = None) -> dict:
    return dict(locals())


LISTED: dict[str, Callable] = {"listed": listed}
LISTS = replace(SCENARIO, registry=f"{HERE}:LISTED")


def test_the_parts_of_a_list_are_joined_by_plus() -> None:
    assert make("listed:a+b,sizes=3+4", LISTS) == {"places": ("a", "b"), "sizes": (3, 4)}
    assert make("listed:a,sizes=none", LISTS) == {"places": ("a",), "sizes": None}
    assert str(Member.read("world:share=1e16", WORLD)) == "world:share=1e16"
    assert str(Member.read("listed:sizes=3 + 4,places=a", LISTS)) == "listed:places=a,sizes=3+4"
    with pytest.raises(InvalidSetting, match=r"sizes of listed to be an integer, joined by \+ or none, got 3\+x"):
        make("listed:sizes=3+x", LISTS)
    assert [each.type for each in describe(LISTED)[0].parameters] == ["text+text...", "integer+integer...|none"]


def test_tables_and_lists_say_what_text_says() -> None:
    assert spelled({"name": "static", "k": 20.0}) == "static:k=20"
    assert spelled({"name": "listed", "sizes": [3, 4]}) == "listed:sizes=3+4"
    assert spelled("loss") == "loss"
    for table in ({"k": 20}, {"name": "static", "k": "20,p=3"}, {"name": 3}):
        with pytest.raises(InvalidSetting, match="expected a table with a name"):
            spelled(table)


AFTER = "expected settings key=value, separated by commas, after 'static:', got "
NAME = "expected a name, with settings as in static:k=20, got "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", NAME + "nothing"),
        (":k=20", NAME + ":k=20"),
        ("k=20", NAME + "k=20"),
        ("a..b", NAME + "a..b"),
        ("../a", NAME + "../a"),
        ("static:", AFTER + "nothing"),
        ("static:k=", AFTER + "k="),
        ("static:=20", AFTER + "=20"),
        ("static:k=20,", AFTER + "nothing"),
        ("static:k=2\n0", AFTER + "'k=2\\n0'"),
        ("static:k=1,k=2", "expected each setting of static once, got k twice"),
    ],
)
def test_malformed_specs_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:policy.json", "policy.json"),
        ("file:runs/a=b,c:d.json", "runs/a=b,c:d.json"),
        ("file:path=a.json", "path=a.json"),
        (" file : ./runs//x/../y z.json ", "runs/x/../y z.json"),
        ("file:/a/b/", "/a/b"),
        ("file:../é.json", "../é.json"),
    ],
)
def test_all_that_follows_file_is_a_path(text: str, path: str) -> None:
    assert parse(text) == Spec("file", {"path": path})
    assert str(Member.read(text, POLICY)) == f"file:{path}"
    assert re.fullmatch(r"file-path_[a-z0-9_.-]+-[0-9a-f]{8}", named(text))


@pytest.mark.parametrize("text", ["file", "file:", "file: ", "file:./ a", "file:a /", "file:a\nb"])
def test_file_wants_a_path(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^expected the path of a policy file, as in file:policy\.json, got "):
        parse(text)


def test_different_policy_files_have_different_folders() -> None:
    paths = ["a/b.json", "a-b.json", "A/b.json", "a/b,json", "b.json", "x/a/b.json"]
    assert len({named(f"file:{path}").lower() for path in paths}) == len(paths)
    assert named("file:./a/b.json") == named("file:a/b.json")


def test_a_policy_is_made_as_its_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"features": ["seen"], "weights": [-2.0], "bias": 1.0}
    Path("my policy,k=1:a.json").write_text(policy_file_text(PolicyFile("linear", settings)))
    made = make("file:my policy,k=1:a.json", POLICY, seed=3)
    assert same(made.state(), LinearPolicy(("seen",), (-2.0,), 1.0).state())
    with pytest.raises(InvalidSetting, match=r"^expected a policy file at no\.json, got none; give its path, as in"):
        make("file:no.json", POLICY)
    with pytest.raises(InvalidSetting, match=r"^expected a scenario out of world, bare or .*, got file"):
        make("file:my policy,k=1:a.json", WORLD)


@given(st.text(max_size=30) | st.text(max_size=10).map("file:{}".format))
def test_any_text_is_a_spec_or_a_one_line_error(text: str) -> None:
    try:
        spec = parse(text)
    except InvalidSetting as error:
        refusal = str(error)
    else:
        assert parse(str(spec)) == spec
        return
    assert refusal.isprintable()


def test_lists_of_specs_are_split_at_blanks_and_semicolons() -> None:
    expected = ["static:k=20", "interleaved:k=20,a=b", "loss"]
    assert split_specs(" static:k=20; interleaved:k=20,a=b\n loss;;") == expected
    with pytest.raises(InvalidSetting, match=r"^expected names .*, got none$"):
        split_specs(" ;")
    files = ["file:runs/a=b,c:d.json", "loss", "file:b.json", "own.module.Class:path=x/y.json"]
    assert split_specs("; ".join(files)) == files


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("loss file:my runs/policy.json", "runs/policy.json beside file:my;"),
        ("file:my policy.json loss", "policy.json beside file:my;"),
        ("file: policy.json", "policy.json beside file:;"),
        ("file:a;b c/d.json", "c/d.json beside file:a;"),
    ],
)
def test_a_path_that_was_split_is_told_of(text: str, piece: str) -> None:
    message = f"expected paths without blanks and semicolons in a list of policies, got {piece} link or rename"
    with pytest.raises(InvalidSetting, match=re.escape(message)):
        split_specs(text)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("size=3", 3),
        ("blur=3", 3.0),
        ("blur=1e-3", 0.001),
        ("blur=none", None),
        ("order=by-class", "by-class"),
        ("order=3", 3),
        ("folder=/a/b", Path("/a/b")),
        ("mirrored=true", True),
        ("mirrored=No", False),
        ("title=none", None),
        ("title=3", "3"),
        ("share=1", 1.0),
    ],
)
def test_settings_are_converted_as_annotated(setting: str, value: object) -> None:
    made = make(f"world:n_chunks=4,{setting}", WORLD)[setting.partition("=")[0]]
    assert made == value
    assert type(made) is type(value)


def test_what_is_given_reaches_who_wants_it_unless_the_user_says_otherwise() -> None:
    given = {"n_chunks": 4, "seed": 7, "dataset": [1], "unheard_of": 0}
    made = make("world:n_chunks=5", WORLD, **given)
    assert (made["n_chunks"], made["seed"], made["dataset"]) == (5, 7, [1])
    assert make("bare", WORLD, **given) == "bare"
    policy = make("random:p=1", POLICY, seed=3)
    assert same(policy.state(), RandomPolicy(1.0, seed=3).state())


@pytest.mark.parametrize(
    ("text", "family", "message"),
    [
        (
            "wrld",
            "scenarios",
            "expected a scenario out of world, bare or package.module.Class, got wrld; "
            "`lifetime list scenarios` shows them",
        ),
        (
            "wrld",
            "tariffs",
            "expected a tariff out of world, bare or package.module.Class, got wrld; "
            "`lifetime list tariffs` shows them",
        ),
        (
            "wrld",
            "costs",
            "expected a cost model out of world, bare or package.module.Class, got wrld; "
            "`lifetime list costs` shows them",
        ),
        (
            "wrld",
            "policies",
            "expected a policy out of world, bare, file:PATH or package.module.Class, got wrld; `lifetime list "
            "policies` shows them",
        ),
        (
            "world:x=1",
            "scenarios",
            "expected settings of world out of size, blur, order, folder, mirrored, title, share, got x",
        ),
        (
            "world:dataset=1",
            "scenarios",
            "expected settings of world out of size, blur, order, folder, mirrored, title, share, got dataset",
        ),
        ("bare:x=1", "scenarios", "expected no settings for bare, got x"),
        ("world", "scenarios", "expected a setting n_chunks for world, as in world:n_chunks=20"),
        ("world:size=many", "scenarios", "expected size of world to be an integer, got many"),
        ("world:size=1.5", "scenarios", "expected size of world to be an integer, got 1.5"),
        ("world:blur=many", "scenarios", "expected blur of world to be a number or none, got many"),
        ("world:mirrored=2", "scenarios", "expected mirrored of world to be true or false, got 2"),
        ("world:order=odd", "scenarios", "expected order of world to be one of random, by-class, 3, got odd"),
    ],
)
def test_what_a_family_cannot_take_is_refused(text: str, family: str, message: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        make(text, replace(FAMILIES[family], registry=WORLD.registry))
    assert str(caught.value) == message


def test_a_range_is_the_callables_own_business() -> None:
    with pytest.raises(InvalidSetting, match=r"^expected k in 0\.\.100, got 140$"):
        make("static:k=140", POLICY)


def test_all_missing_settings_are_named() -> None:
    with pytest.raises(InvalidSetting, match=r"^expected settings a, b for both, as in both:a=x,b=true$"):
        make("both", replace(TARIFF, registry=f"{HERE}:BOTH"))


OWN = """
import os
from agent.policies import Action, Policy

class Own(Policy):
    \"\"\"Of one's own.\"\"\"
    def __init__(self, k=3, name="x", seed: int = 0):
        if k == 13:
            raise RuntimeError("unlucky\\nnumber")
        self.k, self.name, self.seed = k, name, seed
    def decide(self, observation):
        return Action.LEARN

class Plain(Policy):
    def decide(self, observation):
        return Action.MEMORIZE

class Undecided(Policy):
    pass

class Stranger:
    pass

number = 3
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a policy in the current directory, which is not on sys.path."""
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "policies_of_own.py").write_text(OWN)
    for name, text in {"broken": "1 / 0", "lacking": "import no_such_thing", "leaving": "raise SystemExit(3)"}.items():
        (tmp_path / "own_package" / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = set(sys.modules)
    yield "own_package.policies_of_own"
    for name in set(sys.modules) - before:
        if name.startswith("own_package"):
            del sys.modules[name]


def test_a_policy_of_ones_own_is_imported_from_the_current_directory(own_module: str) -> None:
    policy = make(f"{own_module}.Own:k=2.5,name=y", POLICY, seed=7)
    assert isinstance(policy, Policy)
    assert vars(policy) == {"k": 2.5, "name": "y", "seed": 7}
    assert type(make(f"{own_module}.Plain", POLICY, seed=7)).__name__ == "Plain"
    assert str(Member.read(f"{own_module}.Own:name=y,k=3", POLICY)) == f"{own_module}.Own:name=y"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.module.Own", "expected a module no_such_package.module in the current directory or among"),
        ("own_package.nothing.Own", "expected a module own_package.nothing in the current directory or among"),
        ("own_package.policies_of_own.own", "expected a class own in module own_package.policies_of_own, got none of"),
        ("own_package.policies_of_own.number", "to be a subclass of agent.policies.Policy, got an object of type int"),
        ("own_package.policies_of_own.Stranger", "to be a subclass of agent.policies.Policy, got another class"),
        ("own_package.policies_of_own.Undecided", "Undecided to define decide, got a class without; override it"),
        ("own_package.policies_of_own.Plain:k=1", "expected no settings for own_package.policies_of_own.Plain, got k"),
        ("own_package.policies_of_own.Own:k=13", "Own to take its settings, got RuntimeError: unlucky number"),
        ("own_package.broken.Own", "module own_package.broken to import, got ZeroDivisionError: division by zero"),
        ("own_package.lacking.Own", "to import, got ModuleNotFoundError: No module named 'no_such_thing'"),
        ("own_package.leaving.Own", "expected module own_package.leaving to import, got SystemExit: 3"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_a_class_that_is_no_policy_is_refused_in_one_line(path: str, message: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(message)) as caught:
        make(path, POLICY)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("static: k=20.0", "static:k=20"),
        ("static:k=33.30", "static:k=33.3"),
        ("loss:relative=true,threshold=1", "loss"),
        ("loss:relative=no,threshold=1.50", "loss:threshold=1.5,relative=false"),
        ("budget:gflop=1e3,cost=none,how=evenly", "budget:gflop=1000"),
        ("random:seed=0,p=0.5", "random:seed=0"),  # without, the seed of the run would take its place
    ],
)
def test_a_policy_has_one_spelling(text: str, expected: str) -> None:
    assert str(Member.read(text, POLICY)) == expected
    assert str(Member.read(expected, POLICY)) == expected


SETTINGS = {
    "k": st.floats(0, 100) | st.integers(0, 100),
    "period": st.integers(5, 50),
    "learn": st.integers(0, 5),
    "offset": st.integers(0, 4),
    "p": st.floats(0, 1),
    "threshold": st.floats(0, 1),
    "relative": st.sampled_from(["true", "false"]),
    "both": st.sampled_from(["true", "false"]),
    "measure": st.sampled_from(["entropy", "margin"]),
    "gflop": st.floats(0, 1e9),
    "how": st.sampled_from(["evenly", "greedily"]),
    "seed": st.integers(0, 3),
    "cost_weight": st.floats(0, 1),
    "alpha": st.floats(0, 2),
    "scale": st.floats(0, 2),
    "ridge": st.floats(0.1, 2),
    "noise": st.floats(0.01, 1),
    "observes": st.sampled_from(["learner", "memory"]),
}


DESCRIBED = describe(POLICIES, hidden=())


@st.composite
def policy_specs(draw: st.DrawFn) -> str:
    """Specs out of the registry, with settings in any order."""
    member = draw(st.sampled_from(DESCRIBED))
    needed = [p.name for p in member.parameters if p.default == "required"] + ["gflop"] * (member.name == "budget")
    free = [p.name for p in member.parameters if p.name not in needed and p.name != "cost"]
    names = draw(st.permutations(needed + draw(st.lists(st.sampled_from(free), unique=True) if free else st.just([]))))
    settings = ",".join(f"{name}={draw(SETTINGS[name])}" for name in names)
    return f"{member.name}:{settings}" if settings else member.name


@given(policy_specs())
def test_the_canonical_spelling_makes_the_same_policy(text: str) -> None:
    short = str(Member.read(text, POLICY))
    assert str(Member.read(short, POLICY)) == short
    first, second = (make(spelling, POLICY, seed=9) for spelling in (text, short))
    assert type(first) is type(second)
    assert same(first.state(), second.state())


@given(policy_specs(), policy_specs())
def test_different_policies_have_different_files(a: str, b: str) -> None:
    a, b = (str(Member.read(text, POLICY)) for text in (a, b))
    assume(a != b)
    assert named(a) != named(b)


NAMES = st.from_regex(r"[a-bA][a-b0-9_-]{0,3}", fullmatch=True)
KEYS = st.from_regex(r"[a-b][a-b0-9_]{0,3}", fullmatch=True)
VALUES = st.from_regex(r"[a-bA-B0-1._-]{1,4}", fullmatch=True)


def named(text):
    return file_name(parse(text))


SPECS = st.builds(Spec, NAMES, st.dictionaries(KEYS, VALUES, max_size=2))


@given(SPECS, SPECS)
def test_different_specs_have_different_files_even_where_case_does_not_count(a: Spec, b: Spec) -> None:
    names = []
    for spec in a, b:
        names.append(file_name(spec))
        assert re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*", names[-1])
        assert not names[-1].endswith(".")
    assume(a.name != b.name or list(a.settings.items()) != list(b.settings.items()))
    assert names[0].lower() != names[1].lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("static:k=20", "static-k20"),
        ("loss:threshold=1.5,relative=false", "loss-threshold1.5-relative_false"),
        ("loss", "loss"),
        ("class-incremental:n=5", "class-incremental-n5"),
    ],
)
def test_file_names_are_readable(text: str, expected: str) -> None:
    assert named(text) == expected


@pytest.mark.parametrize("text", ["own.module.Class:k=2", "a:folder=../../etc", "a:b=" + "c" * 300, "é"])
def test_odd_specs_end_in_a_digest(text: str) -> None:
    assert re.fullmatch(r"([a-z0-9_][a-z0-9_.-]{0,80}-)?[0-9a-f]{8}", named(text))


def test_a_family_is_described() -> None:
    described = describe(WORLDS)
    assert described[0] == Described(
        "world",
        "A world for tests.",
        'Somebody, "Something", 1999.',
        (
            Parameter("size", "integer", "8", "of an image in pixels: a whole number."),
            Parameter("blur", "number|none", "none", ""),
            Parameter("order", "random|by-class|3", "random", "of the classes."),
            Parameter("folder", "path", "data", ""),
            Parameter("mirrored", "true|false", "false", ""),
            Parameter("title", "none|text", "none", ""),
            Parameter("share", "number", "0.5", ""),
        ),
    )
    assert described[1] == Described("bare", "", "", ())
    assert describe(WORLDS, hidden=())[0].parameters[0].name == "n_chunks"


@pytest.mark.parametrize("described", describe(POLICIES), ids=lambda described: described.name)
def test_every_policy_explains_itself(described: Described) -> None:
    assert described.summary.endswith(".")
    assert described.summary != (Policy.__doc__ or "").partition("\n")[0]
    for parameter in described.parameters:
        assert parameter.help, f"a line for {parameter.name} in Args"
        assert parameter.name not in ("seed", "n_chunks")


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_can_be_named(name: str) -> None:
    settings = ",".join(f"{key}={value}" for key, value in EXAMPLES[name].items())
    policy = make(f"{name}:{settings}" if settings else name, POLICY)
    assert type(policy) is POLICIES[name]
    assert same(policy.state(), POLICIES[name](**EXAMPLES[name]).state())


def test_made_policies_carry_their_settings() -> None:
    made = make("static:k=20", POLICY)
    assert isinstance(made, StaticPolicy)
    assert made.k == 20.0
    loss = make("loss:threshold=2,relative=false", POLICY)
    assert isinstance(loss, LossPolicy)
    assert (loss.threshold, loss.relative) == (2.0, False)
