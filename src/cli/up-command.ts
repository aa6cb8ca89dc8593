/** `clustor up`: a local cluster of separate node processes, from nothing to ready, until Ctrl-C. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClustorError, isClustorError } from '../base/errors.ts';
import { lockDirectory } from '../platform/directory-lock.ts';
import type { DirectoryLock } from '../ports/file-system.ts';
import { checkRaftSettings, defaultRaftSettings } from '../raft/index.ts';
import {
  checkPorts,
  ClusterDirectory,
  partitionsMax,
  type NewCluster,
} from './cluster-directory.ts';
import { colours } from './colours.ts';
import { loadProduct } from './node-command.ts';
import type { Output } from './output.ts';
import { recordedProcesses } from './processes-file.ts';
import { runCluster } from './up-run.ts';

/** Options of the command line. */
export interface UpOptions {
  readonly dir: string;
  readonly nodes: number;
  readonly spares: number;
  readonly partitions: number;
  readonly example?: string;
  readonly product?: string;
  readonly basePort: number;
  readonly productPort: number;
  readonly ports: string;
  readonly unencrypted?: boolean;
  readonly restart: boolean;
  readonly leases: number;
  /** MiB that a log grows by before a snapshot is taken. */
  readonly snapshotLogMib?: number;
}

const examples: Readonly<Record<string, string>> = { kv: '../examples/kv/product.js' };
const sparesMax = 16;

/** Runs the cluster; returns the exit code once it has stopped. */
export async function runUp(options: UpOptions, output: Output): Promise<number> {
  const directory = new ClusterDirectory(resolve(options.dir));
  const product = productOf(options);
  checkOptions(options);
  const lock = await lockCluster(directory);
  try {
    const wanted: NewCluster = {
      nodeCount: options.nodes,
      spareCount: options.spares,
      partitionCount: options.partitions,
      product,
      basePort: options.basePort,
      productPort: options.productPort,
      isPortsAuto: options.ports === 'auto',
      leaseMs: options.leases,
      snapshotLogBytes:
        options.snapshotLogMib === undefined ? undefined : options.snapshotLogMib * 1024 * 1024,
      isEncrypted: options.unencrypted !== true,
    };
    if ((await directory.read()) === undefined) {
      // A product that cannot be loaded would be this cluster's for good.
      if (product !== undefined) await loadProduct(product);
      output.note(colours.dim(`creating a cluster of ${options.nodes} in ${directory.path}`));
    }
    const cluster = await directory.prepare(wanted, Date.now());
    if (product !== undefined && cluster.product !== product) {
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `the cluster in ${directory.path} runs ${cluster.product ?? 'the built-in state machine'}; use another --dir for ${product}`,
      );
    }
    await directory.issueCertificates(cluster, Date.now());
    return await runCluster({ directory, cluster, isRestarting: options.restart, output });
  } finally {
    await lock.release();
  }
}

/** @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`, before anything is written. */
function checkOptions(options: UpOptions): void {
  if (![1, 3, 5, 7].includes(options.nodes))
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `--nodes takes 1, 3, 5 or 7, got ${options.nodes}`,
    );
  if (options.partitions < 1 || options.partitions > partitionsMax)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `--partitions takes 1 to ${partitionsMax.toLocaleString('en')}, got ${options.partitions}`,
    );
  if (options.spares > sparesMax)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `--spares takes 0 to ${sparesMax}, got ${options.spares}`,
    );
  const nodeCount = options.nodes + options.spares;
  if (options.ports !== 'auto') checkPorts({ ...options, nodeCount });
  checkRaftSettings({ ...defaultRaftSettings, leaseMs: options.leases });
}

function productOf(options: UpOptions): string | undefined {
  if (options.example !== undefined && options.product !== undefined)
    throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', 'give --example or --product, not both');
  if (options.product !== undefined)
    return options.product.startsWith('.') ? resolve(options.product) : options.product;
  if (options.example === undefined) return undefined;
  const path = examples[options.example];
  if (path === undefined)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `there is no example "${options.example}"; there is: ${Object.keys(examples).join(', ')}`,
    );
  return fileURLToPath(new URL(path, import.meta.url));
}

/** Takes the folder for this process. @throws ClustorError that names the processes which have it. */
async function lockCluster(directory: ClusterDirectory): Promise<DirectoryLock> {
  try {
    return await lockDirectory(directory.path);
  } catch (error) {
    if (!isClustorError(error, 'CLUSTOR_DATA_DIRECTORY_LOCKED')) throw error;
    const nodes = await recordedProcesses(directory.path);
    const pids = nodes.map((node) => `node ${node.nodeId} as pid ${node.pid}`).join(', ');
    throw new ClustorError(
      'CLUSTOR_DATA_DIRECTORY_LOCKED',
      `${error.message}; it runs ${pids === '' ? 'no node yet' : pids}`,
      { cause: error, details: error.details },
    );
  }
}
