"""How good rankings are: measures of each stage in the week held out, tables, pictures, studies with a known truth."""
