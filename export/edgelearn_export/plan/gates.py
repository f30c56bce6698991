"""What need not be run while a gate is closed: the operations after it that would only spread its zeros."""

from __future__ import annotations

from edgelearn.ir.core import Entry

# Which operand makes all of the result zero, or changes nothing of the state, when it is zero.
_SPREAD = {"quant": 0, "mask": 0, "matvec_t": 1, "matvec_t_mask": 1, "conv_t": 1, "conv_t_mask": 1}
_SPREAD |= {"depthwise_t": 1, "depthwise_t_mask": 1}
_UPDATES = ("outer_update", "vec_update", "conv_update", "depthwise_update")
_UPDATES += ("vec_update_open", "conv_update_open", "depthwise_update_open")


def idle_after(entry: Entry, index: int) -> int:
    """How many operations after the gate ``entry.ops[index]`` do nothing when it is closed.

    What they would have made is left as it was, so nobody after them may read it.
    """
    zero, end = {entry.ops[index].result}, index + 1
    for op in entry.ops[index + 1 :]:
        at = 1 if op.name in _UPDATES else _SPREAD.get(op.name)
        if at is None or op.args[at] not in zero:
            break
        zero.add(op.result)
        end += 1
    made = zero - {entry.ops[index].result, None}
    read = {arg for op in entry.ops[end:] for arg in op.args} | {entry.result}
    return 0 if made & read else min(end - index - 1, 0xFF)
