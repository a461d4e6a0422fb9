"""Run the data checks again, from the root of the repository: what failed, in which files."""

import great_expectations as gx

context = gx.get_context(mode="file")
run = context.checkpoints.get("data_checks").run()

for suite in run.run_results.values():
    for check in suite.results:
        if not check.success:
            files = [row["path"] for row in check.result.get("unexpected_index_list") or []]
            print(f"{suite.suite_name}: {check.expectation_config.meta['name']}", *files, sep="\n  ")
print("all checks passed" if run.success else "see reports/data_docs/index.html, or context.open_data_docs()")
