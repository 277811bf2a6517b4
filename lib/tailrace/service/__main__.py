"""`python -m tailrace.service` is `tailrace serve`."""

from tailrace.service.command import serve

if __name__ == "__main__":
    serve(prog_name="python -m tailrace.service")
