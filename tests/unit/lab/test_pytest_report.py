"""What is counted of a report that pytest wrote."""

from tandem_lab.pytest_report import Results, read_report

REPORT = """<?xml version="1.0"?><testsuites>
<testsuite tests="10" failures="1" errors="2" skipped="3">
  <testcase name="test_a"><failure message="no"/></testcase>
  <testcase name="test_b[lab]"><error message="setup"/></testcase>
  <testcase name="test_c"><skipped/></testcase>
  <testcase name="test_d"/>
  <testcase name="test_a"><error message="teardown"/></testcase>
</testsuite>
<testsuite tests="5" failures="0" errors="0" skipped="0"/>
</testsuites>"""


def test_a_report_is_summed_and_errors_are_failures() -> None:
    assert read_report(REPORT) == Results(passed=9, failed=3, failures=("test_a", "test_b[lab]"))
