"""The documentation is true: its links lead somewhere, its examples run, the tests it cites exist."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
QUANTITIES = sorted((ROOT / "docs" / "quantities").glob("*.md"))
WITH_PYTHON = [page for page in PAGES if "\n```python\n" in page.read_text(encoding="utf-8")]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _prose(page: Path) -> str:
    """Text of a page without its code, in which brackets are no links."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def run_readme() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_readme", ROOT / "tests" / "run_readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def known_tests() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_to_a_file(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", _prose(page))
    local = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    broken = sorted({target for target in local if not (page.parent / target).exists()})
    assert not broken, f"{_name(page)} links to what is not there: {broken}"


@pytest.mark.parametrize("page", QUANTITIES, ids=_name)
def test_every_quantity_says_what_it_is_how_it_was_validated_and_when_not_to_trust_it(page):
    sections = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    missing = {"Definition", "Units", "Validated", "When not to trust it"} - set(sections)
    assert not missing, f"{_name(page)} lacks the sections {sorted(missing)}"
    assert page in WITH_PYTHON, f"{_name(page)} has no example that runs"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_test_that_a_page_cites_exists(page, known_tests):
    cited = set(re.findall(r"`(test_[a-z0-9_]+)`", page.read_text(encoding="utf-8")))
    assert cited <= known_tests, f"{_name(page)} cites {sorted(cited - known_tests)}"


def test_every_page_is_in_the_table_of_contents():
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)\s]+\.md)\)", _prose(index))}
    absent = [_name(page) for page in (ROOT / "docs").rglob("*.md") if page != index and page.resolve() not in linked]
    assert not absent


# README.md has a check of its own, `make readme`.
@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page.name != "README.md"], ids=_name)
def test_every_python_block_runs(page, run_readme):
    run_readme.main([str(page)])
