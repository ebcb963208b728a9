"""Every example of the documents is run."""

import doctest
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, blocks, name_of

EXAMPLES = [document for document in DOCUMENTS if ">>>" in document.read_text(encoding="utf-8")]


@pytest.mark.parametrize("document", EXAMPLES, ids=name_of)
def test_examples_say_what_comes_out(document: Path) -> None:
    """The blocks of one page are one session, as a reader would type them, and print what the page says."""
    parser, namespace = doctest.DocTestParser(), {"__name__": "__main__"}
    session = "\n".join(block for language in ("python", "pycon") for block in blocks(document, language))
    examples = parser.get_examples(session)
    prompts = sum(line.lstrip().startswith(">>>") for line in document.read_text(encoding="utf-8").splitlines())
    assert len(examples) == prompts > 0, "an example stands outside of a python block"
    test = doctest.DocTest(examples, namespace, name_of(document), str(document), 0, session)
    said: list[str] = []
    outcome = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert outcome.failed == 0, "".join(said)


def test_there_are_examples() -> None:
    """The pages on statistics have them; were they written differently, the test above would test nothing."""
    assert {"docs/statistics/change.md", "docs/statistics/cohort.md"} <= {name_of(document) for document in EXAMPLES}
