"""Tables and verdicts as HTML."""

import pandas as pd

from tailrace.report import markup, tables


def test_all_text_is_escaped():
    """Text in a frame never becomes markup."""
    html = tables.draw("frame", {"frame": pd.DataFrame({"<b>": ["<script>"]})}.__getitem__, caption="<i>")
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<i>" not in html


def test_numbers_are_set_right():
    """Columns of numbers are aligned right; columns of names are not, even when a name begins with a digit."""
    html = markup.table(pd.DataFrame({"step": ["03_switch"], "p99, ms": ["612 [588, 655]"], "n": ["1,200"]}))
    assert '<td style="text-align:left">03_switch</td>' in html
    assert '<td class="r">612 <small>[588, 655]</small></td>' in html
    assert '<td class="r">1,200</td>' in html
    assert 'left">2.7.1</td>' in markup.table(pd.DataFrame({"version": ["2.7.1"]}))


def test_a_table_has_a_limit_of_rows():
    """What is beyond it is counted in the caption; a table at the limit is whole."""
    whole = markup.table(pd.DataFrame({"colour": range(markup.MOST_ROWS)}), "Latency.")
    assert (whole.count("<tr>"), "left out" in whole) == (markup.MOST_ROWS + 1, False)
    cut = markup.table(pd.DataFrame({"colour": range(1_200)}), "Latency.")
    assert cut.count("<tr>") == markup.MOST_ROWS + 1
    assert "<caption>Latency. The first 200 rows; 1,000 more are left out.</caption>" in cut
