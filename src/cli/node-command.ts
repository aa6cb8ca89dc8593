/** `clustor node`: one node process, configured by a file. Prints one `ready` line; events go to standard error as JSON lines. */
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import {
  openNode,
  type ClustorNode,
  type Observer,
  type Product,
  type RunningProduct,
} from '../index.ts';
import { killPointFileSystem } from '../platform/kill-point-file-system.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { DefaultMachine } from './default-machine.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { releaseMemoryWhenIdle } from './idle-memory.ts';
import { keyProviderOf, rotateAfterMsOf, type KeyOptions } from './key-options.ts';
import { readConfig } from './node-config.ts';
import type { Output } from './output.ts';
import { importUserModule } from './user-module.ts';

/** Options of the command line. */
export interface NodeCommandOptions extends KeyOptions {
  readonly config: string;
  /** Stop when standard input ends: the parent is gone. */
  readonly stopWithParent?: boolean;
  /** `<chain>:<step>`: kill this process with SIGKILL after that step, for tests. */
  readonly killAfter?: string;
}

/** How long a clean stop may take before the process ends anyway. */
const stopMsMax = 10_000;

/** Runs a node until it is told to stop or fails. Returns the exit code. */
export async function runNode(options: NodeCommandOptions, output: Output): Promise<number> {
  const config = await readConfig(options.config);
  const observer = stderrObserver(config.nodeId);
  const product = config.product === undefined ? undefined : await loadProduct(config.product);
  const wrap = options.killAfter === undefined ? undefined : killPoint(options.killAfter);
  const keyProvider = await keyProviderOf(options, {
    encryption: config.encryption,
    path: options.config,
  });
  const node = await openNode({
    directory: config.dataDirectory,
    clusterId: config.clusterId,
    nodeId: config.nodeId,
    listen: config.listen,
    ...(config.advertise === undefined ? {} : { advertise: config.advertise }),
    certificates: config.certificates,
    diskPolicy: config.development === true ? 'warn' : 'refuse',
    createStateMachine: (partitionId) =>
      product?.createStateMachine(partitionId) ?? new DefaultMachine(),
    observer,
    encryption:
      keyProvider === undefined ? 'none' : { keyProvider, ...rotateAfterMsOf(config.encryption) },
    ...(config.limits === undefined ? {} : { limits: config.limits }),
    ...(config.storage === undefined ? {} : { storage: config.storage }),
    ...(config.raft === undefined ? {} : { raft: config.raft }),
    ...(config.merkleLeaves === undefined ? {} : { merkleLeaves: config.merkleLeaves }),
    ...(wrap === undefined ? {} : { wrapFileSystem: wrap }),
  });
  let running: RunningProduct | undefined;
  try {
    running = await product?.start({
      node,
      get partitions() {
        return node.partitions;
      },
      port: config.productPort,
      observer,
    });
  } catch (error) {
    await node.close();
    if (isClustorError(error)) throw error;
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the product ${config.product ?? ''} does not start: ${messageOf(error)}`,
      { cause: error },
    );
  }
  const { host, port } = node.address;
  const ready = {
    event: 'ready',
    nodeId: config.nodeId,
    pid: process.pid,
    address: `${host}:${port}`,
    product: running?.addresses ?? {},
  };
  output.result(ready, `node ${config.nodeId} listens on ${host}:${port}`);
  const stopReleasing = releaseMemoryWhenIdle(node);
  const reason = await untilStopped(node, options.stopWithParent === true);
  stopReleasing();
  // An open pipe would keep this process alive.
  process.stdin.destroy();
  observer.emit({ level: 'info', kind: 'stopping', fields: { reason } });
  setTimeout(() => process.exit(exitCodes.failed), stopMsMax).unref();
  await running?.close();
  await node.close();
  const failure = await node.stopped;
  if (failure === undefined) return exitCodes.done;
  output.error(failure);
  return exitCodeOf(failure);
}

function untilStopped(node: ClustorNode, stopWithParent: boolean): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        resolve(signal);
      });
    }
    void node.stopped.then((error) => {
      resolve(error?.message ?? 'the node was closed');
    });
    if (!stopWithParent) return;
    process.stdin.on('end', () => {
      resolve('the parent process is gone');
    });
    process.stdin.on('error', () => {
      resolve('the parent process is gone');
    });
    process.stdin.resume();
  });
}

/** Loads a product: an absolute path, or a module name. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export async function loadProduct(specifier: string): Promise<Product> {
  const module: { readonly product?: Product } = await importUserModule(specifier, 'the product');
  if (
    typeof module.product?.createStateMachine !== 'function' ||
    typeof module.product.start !== 'function'
  ) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the module ${specifier} exports no "product"`,
    );
  }
  return module.product;
}

function killPoint(text: string): (fileSystem: FileSystem) => FileSystem {
  const [chain = Number.NaN, step = Number.NaN] = text.split(':').map(Number);
  if (!Number.isInteger(chain) || !Number.isInteger(step) || chain < 1 || step < 0) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `--kill-after takes <chain>:<step>, got "${text}"`,
    );
  }
  return (fileSystem) =>
    killPointFileSystem(fileSystem, {
      chain,
      step,
      kill: () => process.kill(process.pid, 'SIGKILL'),
    });
}

function stderrObserver(nodeId: number): Observer {
  return {
    emit: ({ level, kind, fields }) => {
      process.stderr.write(
        `${JSON.stringify({ time: new Date().toISOString(), level, nodeId, kind, ...fields })}\n`,
      );
    },
  };
}
