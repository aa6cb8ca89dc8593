/** `clustor up`: a local cluster of separate node processes, from nothing to ready, until Ctrl-C. */
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import pc from 'picocolors';
import { connect } from '../client/index.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import { lockDirectory } from '../platform/directory-lock.ts';
import type { DirectoryLock } from '../ports/file-system.ts';
import { checkRaftSettings, defaultRaftSettings } from '../raft/index.ts';
import { ClusterDirectory, leafLifetimeMs, type ClusterFile } from './cluster-directory.ts';
import { exitCodes } from './exit-codes.ts';
import { tableText, type Output } from './output.ts';
import { Supervisor, type NodeEvent, type ReadyNode } from './supervisor.ts';

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
}

const examples: Readonly<Record<string, string>> = { kv: '../examples/kv/product.js' };
const readyMsMax = 60_000;
const sparesMax = 16;
const partitionsMax = 10_000;

/** Runs the cluster; returns the exit code once it has stopped. */
export async function runUp(options: UpOptions, output: Output): Promise<number> {
  const directory = new ClusterDirectory(resolve(options.dir));
  const product = productOf(options);
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
  checkRaftSettings({ ...defaultRaftSettings, leaseMs: options.leases });
  const lock = await lockCluster(directory);
  try {
    const wanted = {
      nodeCount: options.nodes,
      spareCount: options.spares,
      partitionCount: options.partitions,
      product,
      basePort: options.basePort,
      productPort: options.productPort,
      isPortsAuto: options.ports === 'auto',
      leaseMs: options.leases,
      isEncrypted: options.unencrypted !== true,
    };
    const known = await directory.read();
    if (known === undefined)
      output.note(pc.dim(`creating a cluster of ${options.nodes} in ${directory.path}`));
    const cluster = await directory.prepare(wanted, Date.now());
    if (product !== undefined && cluster.product !== product) {
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `the cluster in ${directory.path} runs ${cluster.product ?? 'the built-in state machine'}; use another --dir for ${product}`,
      );
    }
    await directory.issueCertificates(cluster, Date.now());
    return await runCluster({ directory, cluster, options, output });
  } finally {
    await lock.release();
  }
}

interface ClusterToRun {
  readonly directory: ClusterDirectory;
  readonly cluster: ClusterFile;
  readonly options: UpOptions;
  readonly output: Output;
}

async function runCluster({ directory, cluster, options, output }: ClusterToRun): Promise<number> {
  const ready = new Map<number, ReadyNode>();
  let isAnnounced = false;
  let announce: () => void = () => undefined;
  const allReady = new Promise<void>((resolveReady) => {
    announce = resolveReady;
  });
  const supervisor = new Supervisor({
    nodes: cluster.nodes.map(({ nodeId }) => ({
      nodeId,
      configPath: directory.nodeConfigPath(nodeId),
      logPath: join(directory.nodeFolder(nodeId), 'node.log'),
    })),
    isRestarting: options.restart,
    onEvent: (event) => {
      if (event.event === 'nodeReady') {
        ready.set(event.node.nodeId, event.node);
        if (ready.size === cluster.nodes.length) announce();
      }
      void recordProcesses(directory, supervisor);
      if (event.event === 'nodeExited') ready.delete(event.nodeId);
      if (isAnnounced || event.event === 'nodeExited')
        report(event, { directory, output, isRestarting: options.restart });
    },
  });
  const stopped = untilSignal();
  supervisor.start();
  await recordProcesses(directory, supervisor);
  const renewal = setInterval(() => {
    directory.issueCertificates(cluster, Date.now()).catch((error: unknown) => {
      output.note(`${pc.yellow('warning')} certificates were not renewed: ${messageOf(error)}`);
    });
  }, leafLifetimeMs / 2);
  const outcome = await Promise.race([stopped, allReady.then(() => untilLed(directory, cluster))]);
  if (outcome === 'ready') {
    printReady({
      directory,
      cluster,
      output,
      nodes: [...ready.values()].sort((left, right) => left.nodeId - right.nodeId),
    });
    isAnnounced = true;
    await stopped;
  }
  clearInterval(renewal);
  output.note(pc.dim('stopping'));
  await supervisor.stop();
  output.result({ event: 'stopped' }, 'stopped');
  return exitCodes.done;
}

/** Resolves once every partition has a leader that a client can find. */
async function untilLed(directory: ClusterDirectory, cluster: ClusterFile): Promise<'ready'> {
  const paths = directory.clientPaths('client');
  const client = await connect({
    addresses: cluster.nodes.map((node) => node.address),
    certificate: await readFile(paths.certificate, 'utf8'),
    privateKey: await readFile(paths.privateKey, 'utf8'),
    trustBundle: await readFile(paths.trustBundle, 'utf8'),
  });
  const deadlineMs = Date.now() + readyMsMax;
  try {
    for (;;) {
      const askedMs = performance.now();
      const { partitions } = await client.describe();
      const led = partitions.filter(
        (partition) => partition.leaderNodeId !== undefined && partition.commitIndex > 0,
      );
      if (led.length === cluster.partitions.length) return 'ready';
      if (Date.now() > deadlineMs)
        throw new ClustorError(
          'CLUSTOR_NO_LEADER',
          `no leader after ${readyMsMax / 1000} s; look at ${directory.nodeFolder(1)}/node.log`,
        );
      // An answer about thousands of partitions costs nodes that are busy electing; asking takes a fifth of the time at most.
      const pauseMs = Math.max(20, 4 * (performance.now() - askedMs));
      await new Promise((wake) => setTimeout(wake, pauseMs));
    }
  } finally {
    await client.close();
  }
}

function printReady({
  directory,
  cluster,
  output,
  nodes,
}: {
  readonly directory: ClusterDirectory;
  readonly cluster: ClusterFile;
  readonly output: Output;
  readonly nodes: readonly ReadyNode[];
}): void {
  const event = {
    event: 'ready',
    clusterId: cluster.clusterId,
    partitionIds: cluster.partitions.map((plan) => plan.partitionId),
    nodes,
    clientCertificate: directory.clientPaths('client'),
  };
  const rows = nodes.map((node) => [
    node.nodeId,
    node.pid,
    node.address,
    Object.entries(node.product)
      .map(([name, address]) => `${name} ${address}`)
      .join(', '),
  ]);
  const redis = nodes[0]?.product['redis'];
  const hint =
    redis === undefined
      ? 'clustor append hello'
      : `redis-cli -p ${redis.slice(redis.lastIndexOf(':') + 1)} set a 1`;
  output.result(
    event,
    `${tableText(['node', 'pid', 'TLS', 'product'], rows)}\n${pc.green('ready')}  try: ${pc.bold(hint)}  · ${pc.bold('clustor status')}  · Ctrl-C stops`,
  );
}

function report(
  event: NodeEvent,
  {
    directory,
    output,
    isRestarting,
  }: {
    readonly directory: ClusterDirectory;
    readonly output: Output;
    readonly isRestarting: boolean;
  },
): void {
  if (event.event === 'nodeReady') {
    output.result(event, `${pc.green('node')} ${event.node.nodeId} is up as pid ${event.node.pid}`);
    return;
  }
  const how = event.signal ?? `code ${event.code ?? 'unknown'}`;
  const next = isRestarting ? 'restarting in 1 s' : 'not restarted (--no-restart)';
  output.result(
    event,
    `${pc.yellow('node')} ${event.nodeId} (pid ${event.pid}) ended with ${how}; ${next}; see ${directory.nodeFolder(event.nodeId)}/node.log`,
  );
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

const processesFile = 'processes.json';

async function recordProcesses(directory: ClusterDirectory, supervisor: Supervisor): Promise<void> {
  await writeFile(
    join(directory.path, processesFile),
    JSON.stringify({ up: process.pid, nodes: supervisor.pids }),
  ).catch(() => undefined);
}

/** Takes the folder for this process. @throws ClustorError that names the processes which have it. */
async function lockCluster(directory: ClusterDirectory): Promise<DirectoryLock> {
  try {
    return await lockDirectory(directory.path);
  } catch (error) {
    if (!isClustorError(error, 'CLUSTOR_DATA_DIRECTORY_LOCKED')) throw error;
    const text = await readFile(join(directory.path, processesFile), 'utf8').catch(
      () => '{"nodes":[]}',
    );
    const { nodes } = JSON.parse(text) as {
      readonly nodes: readonly { readonly nodeId: number; readonly pid: number }[];
    };
    const pids = nodes.map((node) => `node ${node.nodeId} as pid ${node.pid}`).join(', ');
    throw new ClustorError(
      'CLUSTOR_DATA_DIRECTORY_LOCKED',
      `${error.message}; it runs ${pids === '' ? 'no node yet' : pids}`,
      { cause: error, details: error.details },
    );
  }
}

function untilSignal(): Promise<'signal'> {
  return new Promise((resolveSignal) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        resolveSignal('signal');
      });
    }
  });
}
