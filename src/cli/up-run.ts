/** Runs the nodes of a local cluster that is prepared, until a signal comes or nothing is left to wait for. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { unreachable } from '../base/assert.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import { connect, type ConnectedClient } from '../client/index.ts';
import { leafLifetimeMs, type ClusterDirectory, type ClusterFile } from './cluster-directory.ts';
import { ClusterWatch, endText } from './cluster-watch.ts';
import { colours } from './colours.ts';
import { exitCodes } from './exit-codes.ts';
import { tableText, type Output } from './output.ts';
import { recordProcesses } from './processes-file.ts';
import { Supervisor, type NodeEvent, type ReadyNode } from './supervisor.ts';

/** A cluster that is prepared. */
export interface ClusterToRun {
  readonly directory: ClusterDirectory;
  readonly cluster: ClusterFile;
  /** Whether nodes that die are started again. */
  readonly isRestarting: boolean;
  readonly output: Output;
}

const readyMsMax = 60_000;
const connectMsMax = 5_000;
const failedPauseMs = 100;

/** Runs it; returns the exit code once it has stopped. However it ends, no node and no timer is left. */
export async function runCluster(run: ClusterToRun): Promise<number> {
  const { directory, cluster, isRestarting, output } = run;
  const watch = new ClusterWatch({ nodeCount: cluster.nodes.length, isRestarting });
  let isAnnounced = false;
  const supervisor = new Supervisor({
    programPath: fileURLToPath(new URL('../cli/main.js', import.meta.url)),
    nodes: cluster.nodes.map(({ nodeId }) => ({
      nodeId,
      configPath: directory.nodeConfigPath(nodeId),
      logPath: join(directory.nodeFolder(nodeId), 'node.log'),
    })),
    isRestarting,
    onEvent: (event) => {
      watch.note(event);
      recordProcesses(directory.path, supervisor.pids);
      if (isAnnounced || event.event !== 'nodeReady') report(event, run, supervisor);
    },
  });
  const stopped = untilSignal();
  const waiting = new AbortController();
  const renewal = setInterval(() => {
    directory.issueCertificates(cluster, Date.now()).catch((error: unknown) => {
      output.note(
        `${colours.yellow('warning')} certificates were not renewed: ${messageOf(error)}`,
      );
    });
  }, leafLifetimeMs / 2);
  try {
    supervisor.start();
    recordProcesses(directory.path, supervisor.pids);
    const led = watch.allReady.then(() => untilLed(run, waiting.signal));
    if ((await Promise.race([stopped, watch.hopeless, led])) !== 'signal') {
      printReady(run, watch.nodes);
      isAnnounced = true;
      await Promise.race([stopped, watch.hopeless]);
    }
  } finally {
    clearInterval(renewal);
    waiting.abort();
    output.note(colours.dim('stopping'));
    await supervisor.stop();
  }
  output.result({ event: 'stopped' }, 'stopped');
  return exitCodes.done;
}

/** Resolves once every partition has a leader that a client can find, or nobody waits any more. */
async function untilLed(run: ClusterToRun, signal: AbortSignal): Promise<void> {
  const { directory, cluster } = run;
  const deadlineMs = Date.now() + readyMsMax;
  let client: ConnectedClient | undefined;
  // Who asks nodes that are gone would be kept waiting.
  signal.addEventListener('abort', () => void client?.close());
  try {
    while (!signal.aborted) {
      const askedMs = performance.now();
      let cause: unknown;
      try {
        client ??= await connectTo(run);
        if (await isLed(client, cluster)) return;
      } catch (error) {
        // Nodes that are busy with their start, or start again, answer later.
        if (!isClustorError(error) || !error.retryable) throw error;
        cause = error;
        await client?.close();
        client = undefined;
      }
      if (Date.now() > deadlineMs)
        throw new ClustorError(
          'CLUSTOR_NO_LEADER',
          `no leader after ${readyMsMax / 1000} s; look at ${directory.nodeFolder(1)}/node.log`,
          { cause },
        );
      // An answer about thousands of partitions costs nodes that are busy electing; asking takes a fifth of the time at most.
      const pauseMs =
        cause === undefined ? Math.max(20, 4 * (performance.now() - askedMs)) : failedPauseMs;
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    await client?.close();
  }
}

async function connectTo({ directory, cluster }: ClusterToRun): Promise<ConnectedClient> {
  const paths = directory.clientPaths('client');
  return connect({
    addresses: cluster.nodes.map((node) => node.address),
    certificate: await readFile(paths.certificate, 'utf8'),
    privateKey: await readFile(paths.privateKey, 'utf8'),
    trustBundle: await readFile(paths.trustBundle, 'utf8'),
    limits: { openDeadlineMs: connectMsMax },
  });
}

async function isLed(client: ConnectedClient, cluster: ClusterFile): Promise<boolean> {
  const { partitions } = await client.describe();
  const led = partitions.filter(
    (partition) => partition.leaderNodeId !== undefined && partition.commitIndex > 0,
  );
  return led.length === cluster.partitions.length;
}

function printReady(
  { directory, cluster, output }: ClusterToRun,
  nodes: readonly ReadyNode[],
): void {
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
    `${tableText(['node', 'pid', 'TLS', 'product'], rows)}\n${colours.green('ready')}  try: ${colours.bold(hint)}  · ${colours.bold('clustor status')}  · Ctrl-C stops`,
  );
}

function report(
  event: NodeEvent,
  { directory, output, isRestarting }: ClusterToRun,
  { isStopping }: Supervisor,
): void {
  switch (event.event) {
    case 'nodeReady':
      output.result(
        event,
        `${colours.green('node')} ${event.node.nodeId} is up as pid ${event.node.pid}`,
      );
      return;
    case 'nodeExited': {
      const ended = `${colours.yellow('node')} ${event.nodeId} (pid ${event.pid}) ended with ${endText(event)}`;
      const next = isRestarting ? 'restarting in 1 s' : 'not restarted (--no-restart)';
      const log = `${directory.nodeFolder(event.nodeId)}/node.log`;
      output.result(event, isStopping ? ended : `${ended}; ${next}; see ${log}`);
      return;
    }
    case 'nodeNotStarted': {
      const { code, message, advice } = event.error;
      const next = isRestarting ? 'tried again every second' : 'not tried again (--no-restart)';
      output.result(
        { event: event.event, nodeId: event.nodeId, code, message, advice },
        `${colours.yellow('node')} ${event.nodeId} ${code} ${message}; ${next}\n      ${colours.dim(advice)}`,
      );
      return;
    }
    default:
      return unreachable(event);
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
