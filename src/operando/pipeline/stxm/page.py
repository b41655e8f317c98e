def make_report(task):
    with task.writing("figures") as f:
        f.mkdir()
    with task.writing("report.html") as f:
        f.write_text("x")
