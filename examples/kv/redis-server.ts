/** Listens on this machine's loopback address and serves a partition's keys over the Redis protocol. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { ClustorError, type Observer } from 'clustor';

import {
  kvMachineOf,
  RedisConnection,
  type ConnectionHost,
  type KvPartition,
} from './redis-connection.ts';
import { describeNode, type ReplicationStatus } from './redis-info.ts';
import { WritePacker } from './write-packer.ts';

/** Connections at the same time; one more is told so and closed. */
export const connectionCountMax = 1_024;

/** How long a command may take, with all retries. */
const commandDeadlineMs = 10_000;
/** How long commands that came before a close may still take. */
const closeGraceMs = 1_000;
/** How long a refused connection may take to close its half. */
const refusalMs = 500;
const host = '127.0.0.1';

/** Options of {@link RedisServer.open}. */
export interface RedisServerOptions {
  readonly partition: KvPartition;
  /** Port on the loopback address; 0 lets the system choose one. */
  readonly port: number;
  readonly observer: Observer;
  /** How the replica stands, for INFO. */
  readonly replication: () => ReplicationStatus;
}

/** A listener and its connections. */
export class RedisServer implements ConnectionHost {
  readonly partition: KvPartition;
  readonly packer: WritePacker;
  readonly readDeadlineMs = commandDeadlineMs;
  readonly #options: RedisServerOptions;
  readonly #server: Server;
  readonly #connections = new Set<RedisConnection>();
  /** Connections beyond the limit that are not closed yet. */
  readonly #refused = new Set<Socket>();
  readonly #startedAtMs = performance.now();
  #connectionCountEver = 0;
  #commandCount = 0;
  #closing: Promise<void> | undefined;

  private constructor(options: RedisServerOptions) {
    this.#options = options;
    this.partition = options.partition;
    this.packer = new WritePacker(options.partition, commandDeadlineMs);
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  /**
   * Begins to listen.
   *
   * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` if the port cannot be had.
   */
  static async open(options: RedisServerOptions): Promise<RedisServer> {
    const server = new RedisServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', (cause) => {
        const message = `cannot listen on ${host}:${options.port}: ${cause.message}`;
        reject(new ClustorError('CLUSTOR_INVALID_ARGUMENT', message, { cause }));
      });
      server.#server.listen(options.port, host, resolve);
    });
    server.#server.on('error', (error) => server.reportFailure(error));
    return server;
  }

  /** The port that is listened on. */
  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? this.#options.port;
  }

  /** `host:port` for clients. */
  get address(): string {
    return `${host}:${this.port}`;
  }

  /** Refuses new connections, answers what has come for up to a second, then closes. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      const timer = setTimeout(() => {
        for (const connection of this.#connections) connection.destroy();
      }, closeGraceMs);
      this.#server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      for (const connection of this.#connections) connection.finish();
      for (const socket of this.#refused) socket.destroy();
    });
    return this.#closing;
  }

  describe(sections: readonly string[]): string {
    return describeNode(
      {
        port: this.port,
        uptimeMs: performance.now() - this.#startedAtMs,
        connectionCount: this.#connections.size,
        connectionCountMax,
        commandCount: this.#commandCount,
        keyCount: kvMachineOf(this.partition.machine).store.count,
        partitionId: this.partition.partitionId,
        replication: this.#options.replication(),
      },
      sections,
    );
  }

  countAnswered(count: number): void {
    this.#commandCount += count;
  }

  reportFailure(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#options.observer.emit({ level: 'error', kind: 'redisFailed', fields: { message } });
  }

  #accept(socket: Socket): void {
    if (this.#connections.size >= connectionCountMax || this.#closing !== undefined) {
      this.#refuse(socket);
      return;
    }
    const connection = new RedisConnection(socket, this, ++this.#connectionCountEver);
    this.#connections.add(connection);
    socket.on('close', () => this.#connections.delete(connection));
  }

  /**
   * Tells a connection that there is no room, and closes it whether or not the client closes its half. Not at once: a command
   * that was not read would reset the connection, and the client might never see what it is told.
   */
  #refuse(socket: Socket): void {
    this.#refused.add(socket);
    const timer = setTimeout(() => socket.destroy(), refusalMs);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      this.#refused.delete(socket);
    });
    socket.end('-ERR max number of clients reached\r\n');
    socket.resume();
  }
}
