"""Every example is right, and every bad example is wrong in exactly the way that it says."""

from pathlib import Path

import pytest

from tandem_examples import (
    BY_RULE,
    BY_SCHEMA,
    EXAMPLES,
    KUBECTL,
    PRODUCTION,
    TANDEM,
    Bad,
    bad_files,
    documents,
    good_files,
    merged,
    problems_of,
)


@pytest.mark.parametrize("path", good_files(), ids=lambda path: path.stem)
def test_a_good_example_has_no_problem(path: Path) -> None:
    raws = documents(path)
    if path.name in ("bancuv3.yaml", "first-guest.yaml", "installer.yaml"):
        raws = merged(documents(EXAMPLES / "two-sites.yaml"), raws)
    assert problems_of(raws) == []


@pytest.mark.parametrize("bad", bad_files(), ids=lambda bad: bad.path.stem)
def test_a_bad_example_has_exactly_the_problem_that_it_names(bad: Bad) -> None:
    assert problems_of(merged(documents(PRODUCTION), bad.objects)) == [bad.problem]


@pytest.mark.parametrize("bad", bad_files(), ids=lambda bad: bad.path.stem)
def test_a_bad_example_says_who_notices(bad: Bad) -> None:
    assert bad.noticed_by in (BY_SCHEMA, BY_RULE, KUBECTL, TANDEM)
