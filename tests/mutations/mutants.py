"""Mutants of C++ sources: one operator, bound, constant or dimension of a file changed at a time."""
import re
from dataclasses import dataclass

# What a token becomes. Binary operators are those that the formatter has put spaces around: others are signs,
# pointers or templates.
BINARY = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&",
    "+": "-", "-": "+", "*": "+", "/": "*", "%": "*", "+=": "-=", "-=": "+=", "*=": "+=",
}
NAMES = {
    "std::min": "std::max", "std::max": "std::min",
    ".h": ".w", ".w": ".h", ".p": ".q", ".q": ".p", ".begin": ".end", ".end": ".begin",
    "begin": "end", "true": "false", "false": "true",
}
TOKEN = re.compile(r"""
    (?P<skip>//[^\n]*|/\*.*?\*/|^[ \t]*\#(?:[^\n\\]|\\\n|\\.)*|R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])'
           |^using[^\n]*|^namespace[^\n]*|\[\[[^\n]*?\]\]|template\s*<[^\n]*>|^static_assert[^\n]*)
  | (?P<name>std::(?:min|max)\b|\.(?:h|w|p|q|begin|end)\b(?!\()|\b(?:true|false|begin)\b(?!\())
  | (?P<binary>(?<=[ ])(?:<=|>=|==|!=|&&|\|\||\+=|-=|\*=|[-+*/%<>])(?=[ \n]))
  | (?P<number>(?<![\w.])(?:0|[1-9]\d?)(?![\w.']))
""", re.VERBOSE | re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Mutant:
    """A change at one place of a file: the bytes [begin, end) become `new`."""
    path: str
    begin: int
    end: int
    old: str
    new: str
    line: int

    def apply(self, text):
        return text[:self.begin] + self.new + text[self.end:]

    def __str__(self):
        return f"{self.path}:{self.line}: {self.old} -> {self.new} (at byte {self.begin})"


def replacement(kind, old):
    if kind == "binary":
        return BINARY[old]
    if kind == "name":
        return NAMES[old]
    return {"0": "1", "1": "0"}.get(old, str(int(old) + 1))


def mutants(path, text):
    """All mutants of a file, in the order of the text."""
    return [Mutant(path, found.start(), found.end(), found[0], replacement(found.lastgroup, found[0]),
                   text.count("\n", 0, found.start()) + 1)
            for found in TOKEN.finditer(text) if found.lastgroup != "skip"]
