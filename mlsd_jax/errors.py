"""The one exception a user's mistake raises."""


class UserError(Exception):
  """A mistake of the user's: bad flag, bad file, bad value.

  It is no ValueError: who turns a library's ValueError into a line of their own would wrap a line that is whole.

  The message is one line that says what was wrong and what would be right. The command line prints it without a
  traceback and exits with code 2; a bug raises anything else and keeps its traceback.
  """
