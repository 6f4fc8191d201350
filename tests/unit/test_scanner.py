"""The structural scan: every record with its line, read as Python's csv module reads it, and nothing lost."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elt.scanner import FileRefused, Scan


def scan(data: bytes, block: int = 7) -> tuple[Scan, list[list[str]]]:
    """Scan in small blocks; returns the scan and the COPY rows."""
    found = Scan(data[start : start + block] for start in range(0, len(data), block))
    copied = b"".join(found.blocks()).decode()
    return found, list(csv.reader(io.StringIO(copied, newline=""), strict=True))


def good(rows: list[list[str]]) -> list[tuple[int, list[str]]]:
    return [(int(row[0]), row[3:]) for row in rows if not row[1]]


def rejects(rows: list[list[str]]) -> list[tuple[int, str, str]]:
    return [(int(row[0]), row[1], row[2]) for row in rows if row[1]]


@pytest.mark.parametrize("block", [1, 3, 64, 4096])
def test_records_are_numbered_by_the_line_they_start_on(block):
    data = b'\xef\xbb\xbfa,b\r\n1,2\r\n"x\ny","say ""hi"""\n\n3,4'
    found, rows = scan(data, block)
    assert found.header == ["a", "b"]
    assert good(rows) == [(2, ["1", "2"]), (3, ["x\ny", 'say "hi"']), (6, ["3", "4"])]
    assert (found.records, found.rejects) == (3, 0)


@pytest.mark.parametrize("block", [999, 65536, 10**6])
def test_lines_of_a_long_file_are_numbered_too(block):
    written = [f'{n},"x\ny\n{n}"' if n % 7 == 0 else f"{n}" if n % 11 == 0 else f"{n},{n}" for n in range(5000)]
    number, expected = 2, []
    for text in written:
        expected.append((number, text))
        number += 1 + text.count("\n")
    found, rows = scan(("a,b\n" + "\n".join(written)).encode(), block)
    assert [(int(row[0]), row[3] or row[2]) for row in rows] == [(n, text.partition(",")[0]) for n, text in expected]
    assert (found.records, found.rejects) == (5000, len([row for row in rows if row[1]]))


def test_a_record_that_does_not_fit_the_header_is_a_reject_with_its_text():
    found, rows = scan(b"a,b\n1\n1,2,3\n1,2\n")
    assert rejects(rows) == [(2, "wrong_column_count", "1"), (3, "wrong_column_count", "1,2,3")]
    assert good(rows) == [(4, ["1", "2"])]
    assert (found.records, found.rejects) == (3, 2)


def test_a_bad_byte_fails_its_record_only():
    found, rows = scan(b"a,b\n1,caf\xe9\nx\0y,2\n3,\xc3\xa9\n")
    assert [(line, code) for line, code, _ in rejects(rows)] == [(2, "invalid_encoding"), (3, "nul_byte")]
    assert good(rows) == [(4, ["3", "é"])]
    assert found.records == 3


def test_quotes_inside_an_unquoted_field_are_text():
    _, rows = scan(b'a,b\nO"Neil,5\' 11"\n1,2\n')
    assert good(rows) == [(2, ['O"Neil', "5' 11\""]), (3, ["1", "2"])]


def test_an_unclosed_quote_refuses_the_file_and_names_the_line():
    with pytest.raises(FileRefused, match="line 3") as refusal:
        scan(b'a,b\n1,2\n3,"open\n4,5\n')
    assert refusal.value.code == "unclosed_quote"


def test_an_unclosed_quote_after_a_misplaced_one_is_found_too():
    with pytest.raises(FileRefused, match="line 2") as refusal:
        scan(b'a,b\n"x"y,"\n1,2\n3,4\n')
    assert refusal.value.code == "unclosed_quote"


def test_a_quote_that_swallows_more_than_a_field_may_hold_refuses_the_file():
    with pytest.raises(FileRefused) as refusal:
        scan(b'a,b\n1,"' + b"x,y\n" * 400_000, 65536)
    assert refusal.value.code == "unclosed_quote"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        ("ä,b\n".encode("utf-16"), "invalid_encoding"),
        (b"caf\xe9,b\n", "invalid_encoding"),
        (b'"a,b\n', "unclosed_quote"),
    ],
)
def test_a_file_without_a_readable_header_is_refused(data, code):
    with pytest.raises(FileRefused) as refusal:
        scan(data)
    assert refusal.value.code == code


def test_a_line_without_end_is_refused_before_it_fills_the_memory():
    with pytest.raises(FileRefused):
        Scan(b"x" * 65536 for _ in range(1000))


def test_labels_stand_in_every_row():
    found = Scan([b"a,b\n1,2\n3\n"], labels=(7, 9))
    assert b"".join(found.blocks()) == b'0002,7,9,,,1,2\n3,7,9,wrong_column_count,"3",,\n'


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6) | st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", "\r", " ", '"a"', "\\.", "é", "\ufeff"]
)


@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=12),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 40),
)
def test_well_formed_rows_arrive_as_they_were_written(rows, quoting, line_end, block):
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator=line_end)
    writer.writerow(["a", "b", "c"])
    if quoting != csv.QUOTE_ALL:
        # Python's writer leaves a carriage return unquoted, which its own reader then takes for a line end.
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    writer.writerows(rows)
    found, copied = scan(text.getvalue().encode(), block)
    assert [fields for _, fields in good(copied)] == rows
    assert rejects(copied) == []
    assert found.records == len(rows)


PIECES = [*'ab,"\n\r é', "\r\n", '""', '"x,y"', '"x\ny"', '"x\r\ny"', '"x""y"', "1,2\n", "1,2\r\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.integers(1, 20) | st.just(4096))
@example('"\n', 1)
@example('a,"b"c\n,\r', 3)
@example("a\r\r\n1,2\nb\n", 4096)
@example('"x\ny",1\n"x\n1,2\n', 4096)
def test_mangled_text_is_read_as_pythons_csv_module_reads_it(text, block):
    data = b"a,b\n" + text.encode()
    records = [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row][1:]
    try:
        found, copied = scan(data, block)
    except FileRefused as refusal:
        if refusal.code != "unclosed_quote":
            raise
        return
    assert [fields for _, fields in good(copied)] == [row for row in records if len(row) == 2]
    assert found.records == len(records) == len(good(copied)) + len(rejects(copied))


def test_carriage_returns_alone_end_lines():
    found, rows = scan(b"a,b\r1,2\r3,4\r")
    assert good(rows) == [(2, ["1", "2"]), (3, ["3", "4"])]
    assert found.records == 2
