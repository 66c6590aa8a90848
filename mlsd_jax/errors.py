"""The one exception a user's mistake raises."""


class UserError(ValueError):
  """A mistake of the user's: bad flag, bad file, bad value.

  The message is one line that says what was wrong and what would be right. The command line prints it without a
  traceback and exits with code 2; a bug raises anything else and keeps its traceback.
  """
