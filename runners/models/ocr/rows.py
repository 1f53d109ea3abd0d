"""The reading order of a text's parts: line by line from above, each line from the left."""

Corners = list[list[float]]
"""The x and y of four corners, in any order."""


def rows(boxes: list[Corners]) -> list[list[int]]:
    """Return the numbers of the boxes of each line. A box belongs to the line whose last box it follows."""
    lines: list[list[int]] = []
    for number in sorted(range(len(boxes)), key=lambda number: left(boxes[number])):
        beside = [line for line in lines if follows(boxes[line[-1]], boxes[number])]
        if beside:
            min(beside, key=lambda line: abs(middle(boxes[line[-1]]) - middle(boxes[number]))).append(number)
        else:
            lines.append([number])
    return sorted(lines, key=lambda line: top(boxes[line[0]]))


def follows(one: Corners, other: Corners) -> bool:
    """Return whether the other box is to the right, on the same line."""
    near = min(height(one), height(other)) / 2
    return left(other) >= right(one) - near and abs(middle(one) - middle(other)) < near


def left(box: Corners) -> float:
    """Return the smallest x."""
    return min(x for x, _ in box)


def right(box: Corners) -> float:
    """Return the largest x."""
    return max(x for x, _ in box)


def top(box: Corners) -> float:
    """Return the smallest y."""
    return min(y for _, y in box)


def middle(box: Corners) -> float:
    """Return the mean y."""
    return sum(y for _, y in box) / len(box)


def height(box: Corners) -> float:
    """Return the extent in y."""
    return max(y for _, y in box) - min(y for _, y in box)
