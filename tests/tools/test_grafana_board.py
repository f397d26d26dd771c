from __future__ import annotations

from tools.grafana_board import BOARD, ROWS, board, text


def test_the_board_is_what_its_table_says():
    assert BOARD.read_text() == text(), "write it anew: python -m tools.grafana_board"


def test_each_panel_has_its_own_place_and_its_lines_names():
    panels = board()["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels) == len(ROWS) + sum(map(len, ROWS.values()))
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        lines = [target["legendFormat"] for target in panel.get("targets", ())]
        assert all(lines)
        assert len(set(lines)) == len(lines)
