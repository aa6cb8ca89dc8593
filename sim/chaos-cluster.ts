/**
 * A cluster of real node processes that its owner may harm: each `clustor node` with a configuration, a certificate and a data
 * folder of its own, as an operator would set it up, below one directory. Peers know each other by the addresses of proxies if
 * the cluster has links to be cut, see `chaos-links.ts`.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import {
  createDevelopmentCa,
  createKeyFile,
  clusterId,
  initializeReplicas,
  issueClientCertificate,
  issueNodeCertificate,
  nodeId,
  openKeyFile,
  partitionId,
  planReplicas,
  type CertificateAuthority,
  type ClusterId,
  type IssuedCertificate,
  type PartitionId,
  isClustorError,
} from 'clustor';
import { connect, type ConnectedClient } from 'clustor/client';
import { v7 as uuidv7 } from 'uuid';

import { ChaosLinks } from './chaos-links.ts';

/** The root of the repository. */
export const repositoryDirectory: string = dirname(dirname(fileURLToPath(import.meta.url)));
/** The built command line. */
export const commandPath: string = join(repositoryDirectory, 'dist', 'cli', 'main.js');

const lifetimeMs = 86_400_000;
const readyMsMax = 30_000;

/** What a cluster is made of. */
export interface ChaosClusterOptions {
  readonly directory: string;
  /** Nodes that hold a voter from the start. */
  readonly nodeCount: number;
  /** Further nodes, without replicas. */
  readonly spareCount?: number;
  /** Path of the product's module; the built-in state machine without one. */
  readonly product?: string;
  /** Whether peers reach each other through proxies. */
  readonly isLinked: boolean;
}

/** A node's `ready` line. */
export interface ReadyLine {
  readonly nodeId: number;
  readonly pid: number;
  readonly address: string;
  readonly product: Readonly<Record<string, string>>;
}

/** A started process. */
export interface NodeRun {
  /** Resolves with its ready line; rejects when the process ends before. */
  readonly ready: Promise<ReadyLine>;
  /** Resolves when the process is gone. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

interface RunningNode extends NodeRun {
  readonly child: ChildProcess;
}

/**
 * A module that a node loads without any loader of tools, which would cost each of its lives several seconds: of one in TypeScript
 * there is a copy without types in the cluster's directory. It may import packages and what is built into Node.
 */
async function loadable(path: string, directory: string): Promise<string> {
  if (!path.endsWith('.ts')) return path;
  const { default: typescript } = await import('typescript');
  const { ESNext } = typescript.ModuleKind;
  const { outputText } = typescript.transpileModule(readFileSync(path, 'utf8'), {
    compilerOptions: { module: ESNext, target: typescript.ScriptTarget.ES2023 },
  });
  const copy = join(directory, basename(path).replace(/\.ts$/, '.mjs'));
  mkdirSync(directory, { recursive: true });
  writeFileSync(copy, outputText);
  return copy;
}

/** See the file comment. */
export class ChaosCluster {
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly partitionId: PartitionId;
  readonly authority: CertificateAuthority;
  /** TLS addresses of the nodes themselves, by node id. */
  readonly addresses: ReadonlyMap<number, string>;
  /** Where the other nodes reach each node. */
  readonly peerAddresses: ReadonlyMap<number, string>;
  /** The links between nodes, if they can be cut. */
  readonly links: ChaosLinks | undefined;
  readonly #running = new Map<number, RunningNode>();
  readonly #productAddresses = new Map<number, string>();

  private constructor(
    options: ChaosClusterOptions,
    made: Pick<
      ChaosCluster,
      'clusterId' | 'partitionId' | 'authority' | 'addresses' | 'peerAddresses' | 'links'
    >,
  ) {
    this.directory = options.directory;
    this.clusterId = made.clusterId;
    this.partitionId = made.partitionId;
    this.authority = made.authority;
    this.addresses = made.addresses;
    this.peerAddresses = made.peerAddresses;
    this.links = made.links;
  }

  /** Makes certificates, configurations and replicas; starts no process yet. */
  static async create(options: ChaosClusterOptions): Promise<ChaosCluster> {
    const { isLinked } = options;
    const product = options.product && (await loadable(options.product, options.directory));
    const id = clusterId(uuidv7());
    const count = options.nodeCount + (options.spareCount ?? 0);
    const nodeIds = Array.from({ length: count }, (_, at) => at + 1);
    const ports = await freePorts(count * 2);
    const addressAt = (at: number): string => `127.0.0.1:${ports[at] ?? 0}`;
    const addresses = new Map(nodeIds.map((node, at) => [node, addressAt(at)]));
    const links = isLinked
      ? await ChaosLinks.open(
          nodeIds.map((node, at) => ({
            nodeId: node,
            port: ports[at] ?? 0,
            proxyPort: ports[count + at] ?? 0,
          })),
        )
      : undefined;
    const wallMs = Date.now();
    const authority = await createDevelopmentCa({ clusterId: id, wallMs, lifetimeMs });
    const peerAddresses = new Map(
      nodeIds.map((node, at) => [node, isLinked ? addressAt(count + at) : addressAt(at)]),
    );
    const voters = nodeIds
      .slice(0, options.nodeCount)
      .map((node) => ({ nodeId: node, address: peerAddresses.get(node) ?? '' }));
    const partition = partitionId(uuidv7());
    const plan = planReplicas(partition, voters);
    const made = {
      clusterId: id,
      partitionId: partition,
      authority,
      addresses,
      peerAddresses,
      links,
    };
    const cluster = new ChaosCluster(options, made);
    for (const node of nodeIds) {
      const folder = cluster.nodeFolder(node);
      mkdirSync(folder, { recursive: true });
      const issue = {
        authority,
        clusterId: id,
        nodeId: nodeId(node),
        hosts: [],
        wallMs,
        lifetimeMs,
      };
      writeCertificate(join(folder, 'tls'), await issueNodeCertificate(issue), authority);
      const config = {
        clusterId: id,
        nodeId: node,
        listen: addresses.get(node),
        advertise: peerAddresses.get(node),
        dataDirectory: 'data',
        certificates: {
          certificateFile: 'tls/certificate.pem',
          privateKeyFile: 'tls/private-key.pem',
          trustBundleFile: 'tls/trust-bundle.pem',
        },
        product,
        encryption: { kekFile: 'kek.json' },
      };
      const kek = join(folder, 'kek.json');
      await createKeyFile(kek);
      writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, undefined, 2)}\n`);
      const data = join(folder, 'data');
      if (node > options.nodeCount) continue;
      await initializeReplicas({
        directory: data,
        clusterId: id,
        nodeId: node,
        partitions: [plan],
        encryption: { keyProvider: await openKeyFile(kek) },
      });
    }
    return cluster;
  }

  /** Ids of all nodes. */
  get nodeIds(): readonly number[] {
    return [...this.addresses.keys()];
  }

  /** Ids of the nodes whose process lives. */
  get runningIds(): readonly number[] {
    return [...this.#running.keys()];
  }

  /** Folder of a node. */
  nodeFolder(node: number): string {
    return join(this.directory, `node-${node}`);
  }

  /** Where the product of a node listens, once it was ready. */
  productAddress(node: number): string | undefined {
    return this.#productAddresses.get(node);
  }

  /** Starts the process of a node. */
  start(node: number, words: readonly string[] = []): NodeRun {
    const known = this.#running.get(node);
    if (known !== undefined) return known;
    const folder = this.nodeFolder(node);
    const log = openSync(join(folder, 'node.log'), 'a');
    const config = ['--config', join(folder, 'config.json')];
    const child = spawn(
      process.execPath,
      [commandPath, 'node', ...config, '--stop-with-parent', '--json', ...words],
      { stdio: ['pipe', 'pipe', log], detached: true, cwd: repositoryDirectory },
    );
    closeSync(log);
    child.stdin?.on('error', () => undefined);
    const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
      child.once('exit', (code, signal) => {
        this.#running.delete(node);
        this.links?.setProcess(node, undefined);
        resolve({ code, signal });
      });
    });
    const ready = readyLine(child, join(folder, 'node.log'));
    ready.then(
      ({ product }) => {
        const [address] = Object.values(product);
        if (address !== undefined) this.#productAddresses.set(node, address);
      },
      () => undefined,
    );
    this.links?.setProcess(node, child.pid);
    const run = { child, ready, exited };
    this.#running.set(node, run);
    return run;
  }

  /** Starts every node that does not run and waits until all are ready. */
  async startAll(): Promise<void> {
    await Promise.all(this.nodeIds.map((node) => this.start(node).ready));
  }

  /** `kill -9`; resolves when the process is gone. */
  async kill(node: number): Promise<void> {
    const run = this.#running.get(node);
    run?.child.kill('SIGKILL');
    await run?.exited;
  }

  /** Stops a process in the middle of whatever it does. */
  pause(node: number): void {
    this.#running.get(node)?.child.kill('SIGSTOP');
  }

  /** Lets a paused process go on. */
  resume(node: number): void {
    this.#running.get(node)?.child.kill('SIGCONT');
  }

  /** Connects a client to the nodes themselves. */
  async connect(): Promise<ConnectedClient> {
    const { authority } = this;
    const { certificatePem, privateKeyPem } = await issueClientCertificate({
      authority,
      clusterId: this.clusterId,
      role: 'client',
      name: 'chaos',
      wallMs: Date.now(),
      lifetimeMs,
    });
    return connect({
      addresses: [...this.addresses.values()],
      certificate: certificatePem,
      privateKey: privateKeyPem,
      trustBundle: authority.certificatePem,
    });
  }

  /** The leader that a client hears of; waits for one. */
  async leader(client: ConnectedClient, waitMsMax = 10_000): Promise<number> {
    const deadlineMs = performance.now() + waitMsMax;
    for (;;) {
      const leader = await leaderSaid(client);
      if (leader !== undefined && this.#running.has(leader)) return leader;
      if (performance.now() > deadlineMs) throw new Error(`no leader after ${waitMsMax} ms`);
      await delay(20);
    }
  }

  /** Asks the nodes to stop, insists, and closes the links. */
  async close(): Promise<void> {
    const runs = [...this.#running.values()];
    for (const { child } of runs) {
      child.kill('SIGCONT');
      child.kill('SIGTERM');
    }
    const insist = setTimeout(() => {
      for (const { child } of runs) child.kill('SIGKILL');
    }, 5000);
    await Promise.all(runs.map(({ exited }) => exited));
    clearTimeout(insist);
    await this.links?.close();
  }

  /** For the end of this process however it comes: kills what is left, at once. */
  abandon(): void {
    for (const { child } of this.#running.values()) child.kill('SIGKILL');
  }
}

/** Writes the three files of a certificate into a folder. */
export function writeCertificate(
  folder: string,
  issued: IssuedCertificate,
  authority: Pick<CertificateAuthority, 'certificatePem'>,
): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'certificate.pem'), issued.certificatePem);
  writeFileSync(join(folder, 'private-key.pem'), issued.privateKeyPem, { mode: 0o600 });
  writeFileSync(join(folder, 'trust-bundle.pem'), authority.certificatePem);
}

function readyLine(child: ChildProcess, logPath: string): Promise<ReadyLine> {
  const { stdout } = child;
  if (stdout === null) throw new Error('the output of a node is not readable');
  const ready = new Promise<ReadyLine>((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`a node was not ready within ${readyMsMax} ms; see ${logPath}`));
    }, readyMsMax);
    let isReady = false;
    createInterface({ input: stdout }).on('line', (line) => {
      if (!line.includes('"event":"ready"')) return;
      isReady = true;
      clearTimeout(timer);
      resolve(JSON.parse(line) as ReadyLine);
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      if (isReady) return;
      const end = readFileSync(logPath, 'utf8').trimEnd().split('\n').slice(-3).join('\n');
      reject(new Error(`a node ended before it was ready (${String(code ?? signal)}): ${end}`));
    });
  });
  // Whoever kills a node that starts need not listen.
  ready.catch(() => undefined);
  return ready;
}

/** Free ports below those that the system hands out to dialling sockets: they stay free while their owner is down. */
async function freePorts(count: number): Promise<readonly number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    if (await isFree(port)) found.add(port);
  }
  return [...found];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

/** Who leads as far as nodes say that answer; nobody while none does. */
async function leaderSaid(client: ConnectedClient): Promise<number | undefined> {
  try {
    return (await client.describe()).partitions[0]?.leaderNodeId;
  } catch (error) {
    if (isClustorError(error, 'CLUSTOR_NO_LEADER')) return undefined;
    throw error;
  }
}
