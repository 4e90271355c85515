"""What is counted of a report that pytest wrote."""

from tandem_lab.pytest_report import Results, read_report

REPORT = """<?xml version="1.0"?><testsuites>
<testsuite tests="6" failures="1" errors="2" skipped="1">
  <testcase classname="tests.one" name="test_a"><failure message="no"/></testcase>
  <testcase classname="tests.one" name="test_b[lab]"><error message="setup"/></testcase>
  <testcase classname="tests.one" name="test_c"><skipped/></testcase>
  <testcase classname="tests.one" name="test_d"/>
  <testcase classname="tests.one" name="test_a"><error message="teardown"/></testcase>
</testsuite>
<testsuite tests="1" failures="0" errors="0" skipped="0">
  <testcase classname="tests.two" name="test_a"/>
</testsuite>
</testsuites>"""


def test_each_test_is_counted_once_and_errors_are_failures() -> None:
    assert read_report(REPORT) == Results(passed=2, failed=2, failures=("test_a", "test_b[lab]"))
