/** `processes.json` in the folder of a local cluster: who runs it, for the message to a second `up`. */
import { renameSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A process of a node. */
export interface NodeProcess {
  readonly nodeId: number;
  readonly pid: number;
}

const fileName = 'processes.json';

/** Writes who runs now. The file is for people: where it cannot be written, nothing else is lost. */
export function recordProcesses(folder: string, nodes: readonly NodeProcess[]): void {
  const path = join(folder, fileName);
  try {
    writeFileSync(`${path}.new`, JSON.stringify({ up: process.pid, nodes }));
    renameSync(`${path}.new`, path);
  } catch {
    return;
  }
}

/** The nodes that the file names; none where it is missing or cannot be understood. */
export async function recordedProcesses(folder: string): Promise<readonly NodeProcess[]> {
  try {
    const parsed = JSON.parse(await readFile(join(folder, fileName), 'utf8')) as {
      readonly nodes?: readonly Partial<NodeProcess>[];
    };
    return (parsed.nodes ?? []).filter(
      (row): row is NodeProcess => typeof row.nodeId === 'number' && typeof row.pid === 'number',
    );
  } catch {
    return [];
  }
}
