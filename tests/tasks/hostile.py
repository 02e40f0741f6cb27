"""Damage to files: what happens to bytes on their way, and what people who mean harm would write into them."""

# What a reader may not expect: digits that are none, numbers that are too large, signs, quotes, and much of anything.
TOKENS = (
    *(
        "²",
        "٣",
        "\uff11",
        "?",
        "1e400",
        "1e39",
        "-1e39",
        "nan",
        "inf",
        "-inf",
        "1_0",
        "_",
        "0x10",
        "9" * 5000,
        "9" * 400,
    ),
    *(
        "\0",
        "\ufeff",
        "\r",
        "\n",
        "\r\n",
        "\n\n",
        "\x85",
        "\u2028",
        "\t",
        " ",
        ",",
        ",,",
        ";",
        ":",
        '"',
        '""',
        "'",
        "#",
    ),
    *(
        "%",
        "@",
        "-",
        "-1",
        "0",
        "1",
        "=",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "<",
        "/",
        "\\",
        "../x",
        "/x",
        "*",
        "*?*",
        "null",
    ),
    *("true", "Infinity", "9223372036854775808", "18446744073709551616", "4294967295", "\\ud800", "\\u0000", "é"),
    *(
        "0000-01-01",
        "9999-12-31",
        "1500-01-01",
        "2262-12-31",
        "2024-01-01T00:00+05:00",
        "24:00",
        "48:01",
        "10000-01-01",
    ),
    *("x" * 200_000, " " * 200_000, "1 " * 50_000, "[" * 10_000, "(" * 10_000, "(1 " * 5_000, '{"a":' * 10_000),
    *(
        "-" * 10_000,
        "a," * 5_000,
        "\n" * 5_000,
        "1," * 5_000,
        "@data",
        "@classLabel true",
        "true",
        "id",
        "train",
        "test",
    ),
)
NUMBERS = (
    b"\xff" * 4,
    b"\0" * 4,
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\1\0",
    b"\0\1",
    b"\xff",
    b"\xff" * 8,
    b"PK",
    b"\x80",
)
BYTES = (*(token.encode() for token in TOKENS), *NUMBERS)
KINDS = ("flip", "delete", "double", "splice", "cut", "insert", "replace", "overwrite")


def damaged(valid, steps):
    """Content after some steps of damage, each (kind, place, which): any whole numbers do."""
    content = valid
    for kind, place, which in steps:
        content = _step(content, kind, place % (len(content) + 1), which)
        if len(content) > 2_000_000:
            break
    return content


def _step(content, kind, place, which):
    span = 1 + which % 16
    token = BYTES[which % len(BYTES)]
    match kind:
        case "flip":
            put, end = bytes([byte ^ (1 << which % 8) for byte in content[place : place + 1]]), place + 1
        case "delete":
            put, end = b"", place + span
        case "double":
            put, end = content[place : place + span], place
        case "splice":
            put, end = b"", which % (len(content) + 1)
        case "cut":
            put, end = b"", len(content)
        case "insert":
            put, end = token, place
        case "replace":  # a whole field
            ends = (end for end in range(place, len(content)) if content[end] in b' ,;:\n\t"()')
            put, end = token, next(ends, len(content))
        case _:
            put, end = token[: len(content)], place + len(token)
    return content[:place] + put + content[end:]
