"""An extension of Griffe, which reads the docstrings for `make docs`. It rewrites what Markdown or
Griffe would misread."""

import re

import griffe


class OurStyle(griffe.Extension):
    """Turns examples into blocks of code, and gives each argument an entry."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Griffe calls this for each object, before it parses the docstring."""
        if obj.docstring:
            obj.docstring.value = one_entry_each(fenced(obj.docstring.value))


def fenced(text: str) -> str:
    """`text` with fences around `>>>` examples, which Markdown would take for quotations."""
    return re.sub(r'^>>> .*?(?=\n\n|\Z)', r'```pycon\n\g<0>\n```', text, flags=re.M | re.S)


def one_entry_each(text: str) -> str:
    """`text` with 'a: words' and 'b: words' for 'a, b: words' under 'Args:'."""

    def apart(entry: re.Match) -> str:
        names = re.split(r',\s+', entry[2])
        return '\n'.join(f'{entry[1]}{name}: {entry[3]}' for name in names)

    def in_section(section: re.Match) -> str:
        entry = r'^( +)(\w+(?:,\s+\w+)+): (.*(?:\n\1 +.*)*)'
        return re.sub(entry, apart, section[0], flags=re.M)

    return re.sub(r'^Args:\n.*?(?=\n\n|\Z)', in_section, text, flags=re.M | re.S)
