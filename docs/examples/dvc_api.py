"""Settings and metrics of the workspace and of every experiment, by DVC's Python API; run it in a checkout."""

import dvc.api

params, metrics = dvc.api.params_show("params.yaml"), dvc.api.metrics_show()
print(f"workspace: {params['train']['epochs']} epochs, AUC {metrics['auc']:.4f}")
for row in dvc.api.exp_show():
    if row["Experiment"]:
        print(f"{row['Experiment']}: {row['train.epochs']:.0f} epochs, AUC {row['auc']:.4f}")
