"""What a worker's machine is busy with, under the names of MLflow's system metrics, so that its page shows them."""

import psutil
import torch

MEGABYTE = 1e6


def system_metrics(node: int = 0) -> dict[str, float]:
    """Load since the last call and memory in use, of the processor and of every GPU this process sees.

    Those of further nodes have the node's number in their name.
    """
    memory, disk, network = psutil.virtual_memory(), psutil.disk_usage("/"), psutil.net_io_counters()
    metrics = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / MEGABYTE,
        "system_memory_usage_percentage": memory.percent,
        "disk_usage_percentage": disk.percent,
        "network_receive_megabytes": network.bytes_recv / MEGABYTE,
        "network_transmit_megabytes": network.bytes_sent / MEGABYTE,
        "process_memory_usage_megabytes": psutil.Process().memory_info().rss / MEGABYTE,
    }
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        metrics[f"gpu_{i}_memory_usage_percentage"] = 100 * (1 - free / total)
        metrics[f"gpu_{i}_memory_usage_megabytes"] = (total - free) / MEGABYTE
    place = f"system/node_{node}" if node else "system"
    return {f"{place}/{name}": value for name, value in metrics.items()}
