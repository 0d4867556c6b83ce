"""Programs for people: read from a model, told as text, compared, and drawn."""

from bb_core.inspection.comparing import differences
from bb_core.inspection.dot import to_dot
from bb_core.inspection.picture import to_svg
from bb_core.inspection.reading import Edge, Function, Op, Program, read_program
from bb_core.inspection.telling import tell

__all__ = ["Edge", "Function", "Op", "Program", "differences", "read_program", "tell", "to_dot", "to_svg"]
