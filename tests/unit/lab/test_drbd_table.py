"""What the table of DRBD versions counts, what it says went wrong, and how it is laid out."""

import pytest

from tandem_lab.drbd_table import (
    PARTS,
    Column,
    Loss,
    Outcome,
    Versions,
    environment_of,
    of_losses,
    of_tests,
    of_verdicts,
    table,
    utils_of,
)
from tandem_lab.pytest_report import Results
from tandem_lab.settings import MODULES_VARIABLE, LabError, Settings

AGREES, SECOND, DIFFERS = "agrees", "agrees at the second try", "differs"
SAID = """DRBDADM_BUILDTAG=GIT-hash:\\ x
DRBDADM_API_VERSION=2
DRBDADM_VERSION_CODE=0x091600
DRBDADM_VERSION=9.22.0
"""


@pytest.mark.parametrize(
    ("verdicts", "cell", "problems"),
    [
        ({"one": AGREES, "two": AGREES}, "2 of 2", ()),
        ({"one": AGREES, "two": SECOND}, "2 of 2, 1 of them at the second try", ()),
        ({"one": DIFFERS, "two": AGREES}, "1 of 2", ("not as the simulator: one",)),
        ({}, "0 of 0", ("no sequence was played",)),
    ],
)
def test_sequences(verdicts: dict[str, str], cell: str, problems: tuple[str, ...]) -> None:
    assert of_verdicts(verdicts) == Outcome((cell,), problems)


@pytest.mark.parametrize(
    ("first", "second", "cell", "problems"),
    [
        (Results(36, 0), None, "36 of 36", ()),
        (Results(0, 0), None, "0 of 0", ("no test was played",)),
        (Results(0, 2, ("a", "b")), None, "0 of 2", ("failed: a, b",)),
        (
            Results(34, 2, ("a", "b")),
            Results(2, 0),
            "36 of 36, 2 of them at the second try",
            (),
        ),
        (
            Results(34, 2, ("a", "b")),
            Results(1, 1, ("b",)),
            "35 of 36, 1 of them at the second try",
            ("failed: b",),
        ),
        # The second run was ended before it had played anything.
        (Results(34, 2, ("a", "b")), Results(0, 0), "34 of 36", ("failed: a, b",)),
    ],
)
def test_tests(
    first: Results, second: Results | None, cell: str, problems: tuple[str, ...]
) -> None:
    assert of_tests(first, second) == Outcome((cell,), problems)


def test_losses_of_sites() -> None:
    good = of_losses([Loss(13.14, 0, 21.6), Loss(12.7, 0, 25.4)])
    assert good == Outcome(("13.1 s, 12.7 s", "0", "22 s, 25 s"))
    bad = of_losses([Loss(13.14, 0, 21.6), Loss(12.7, 3, 25.4)])
    assert bad.cells[1] == "3"
    assert bad.problems == ("3 acknowledged writes were lost",)


def test_each_part_gives_a_cell_for_each_of_its_rows() -> None:
    assert len(of_losses([]).cells) == len(PARTS["takeover"].rows)
    assert len(of_verdicts({}).cells) == len(PARTS["conformance"].rows)
    assert len(of_tests(Results(1, 0)).cells) == len(PARTS["contract"].rows)
    assert len(of_tests(Results(1, 0)).cells) == len(PARTS["verification"].rows)


def test_the_version_of_the_tools() -> None:
    assert utils_of(SAID) == "9.22.0"
    with pytest.raises(LabError, match="does not say its version"):
        utils_of("drbdadm: command not found")


def test_a_program_is_told_of_this_drbd_and_of_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODULES_VARIABLE, "/another")
    settings = Settings.from_environment()
    assert environment_of(settings)[MODULES_VARIABLE] == "/another"
    own = Settings(settings.cache_dir, settings.state_dir, settings.namespace)
    assert MODULES_VARIABLE not in environment_of(own)


def columns() -> list[Column]:
    eight = Column("the lab's own", Versions("8.4.11", "6.1.176", "9.22.0"))
    eight.outcomes["conformance"] = Outcome(("134 of 134",))
    eight.outcomes["takeover"] = Outcome(("13.1 s, 12.7 s", "0", "22 s, 25 s"))
    nine = Column("9.2.19", Versions("9.2.19", "6.1.176", "9.22.0"))
    nine.outcomes["conformance"] = Outcome(("146 of 147",), ("not as the simulator: one",))
    nine.outcomes["takeover"] = Outcome(("failed",) * 3, ("not played to its end: LabError: x",))
    return [eight, nine, Column("9.9", problems=["its hosts do not boot: no such module"])]


def test_the_table() -> None:
    assert table(columns(), ["conformance", "takeover"], "2026-11-30", [12.4, 3.5, 6])[1:] == [
        "",
        "| | 8.4.11 | 9.2.19 | 9.9 |",
        "|---|---|---|---|",
        "| named sequences that kernels play as the simulator does | 134 of 134 | 146 of 147 | – |",
        "| a site dies, then the other: until the guest's first line elsewhere |"
        " 13.1 s, 12.7 s | failed | – |",
        "| acknowledged writes lost by it | 0 | failed | – |",
        "| it returns: boot, resync, protected again | 22 s, 25 s | failed | – |",
        "",
        "Left out: contract, verification, random sequences, random faults, scenarios, mutants.",
        "* 9.2.19: conformance: not as the simulator: one",
        "* 9.2.19: takeover: not played to its end: LabError: x",
        "* 9.9: its hosts do not boot: no such module",
    ]


def test_the_table_says_when_and_on_what() -> None:
    first = table(columns(), [], "2026-11-30", [12.4, 3.5, 6])[0]
    assert first.startswith("On 2026-11-30, Linux 6.1.176, drbd-utils 9.22.0, ")
    assert first.endswith(" cores at a load of 4 to 12:")
