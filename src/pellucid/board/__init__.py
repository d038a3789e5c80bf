"""A model's behaviour over a data set: how well it does, where it errs, and why."""

from pellucid.board.making import board
from pellucid.board.performance import Calibration, Classification, Regression
from pellucid.board.result import Board
from pellucid.board.scores import Score
from pellucid.board.slices import Slice, Slices

__all__ = [
    "Board",
    "Calibration",
    "Classification",
    "Regression",
    "Score",
    "Slice",
    "Slices",
    "board",
]
