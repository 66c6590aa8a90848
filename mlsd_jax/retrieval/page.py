"""What a corpus is made of."""

import dataclasses
import hashlib

MARKDOWN, PLAIN = 'markdown', 'plain'
MAX_BYTES = 16 * 2**20  # of a page: what is longer is no page but a log or a dump


@dataclasses.dataclass(frozen=True)
class Page:
  """A document.

  Attributes:
    id: unique in its corpus; for a file its path below the folder.
    title: what a reader would call it.
    text: as it was written; of HTML, DOCX and the like, the text in it as Markdown. Character spans refer to this.
    folder: what it is filed under, for filters and colours.
    format: MARKDOWN or PLAIN.
    context: what the page is part of, in a sentence; embedded with each of its chunks.
  """

  id: str
  title: str
  text: str
  folder: str = ''
  format: str = PLAIN
  context: str = ''

  @property
  def digest(self) -> str:
    """Changes when anything of the page does."""
    fields = '\0'.join((self.id, self.title, self.folder, self.format, self.context, self.text))
    return hashlib.sha256(fields.encode('utf-8', 'surrogatepass')).hexdigest()
