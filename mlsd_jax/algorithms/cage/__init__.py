"""What stands between the judge and a program: its own root, network and processes, limits, a filter of system calls.

Standard library only, and neither pathlib nor subprocess: pool.py starts `supervisor.main` as a process of its own with
`python -I -S`, and every import would cost each start.
"""
