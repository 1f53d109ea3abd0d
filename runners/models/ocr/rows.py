"""The order in which parts of a text are read: line by line from above, each from the left."""

Corners = list[list[float]]
"""x and y of four of them, in any order."""


def rows(boxes: list[Corners]) -> list[list[int]]:
    """By number. A part is of the line whose last part it follows."""
    lines: list[list[int]] = []
    for number in sorted(range(len(boxes)), key=lambda number: left(boxes[number])):
        beside = [line for line in lines if follows(boxes[line[-1]], boxes[number])]
        if beside:
            min(beside, key=lambda line: abs(middle(boxes[line[-1]]) - middle(boxes[number]))).append(number)
        else:
            lines.append([number])
    return sorted(lines, key=lambda line: top(boxes[line[0]]))


def follows(one: Corners, other: Corners) -> bool:
    """To the right of it, on the same line."""
    near = min(height(one), height(other)) / 2
    return left(other) >= right(one) - near and abs(middle(one) - middle(other)) < near


def left(box: Corners) -> float:
    return min(x for x, _ in box)


def right(box: Corners) -> float:
    return max(x for x, _ in box)


def top(box: Corners) -> float:
    return min(y for _, y in box)


def middle(box: Corners) -> float:
    return sum(y for _, y in box) / len(box)


def height(box: Corners) -> float:
    return max(y for _, y in box) - min(y for _, y in box)
