/**
 * Links between node processes that can be cut without privileges: a TCP proxy before each node, which its peers dial in its
 * place.
 *
 * A proxy sees bytes of TLS and no names, so it asks the system who dialled: `/proc/net/tcp` gives the socket's inode for the
 * remote port, and the descriptors of the node processes say which of them owns it. Cuts are per direction: while A → B is
 * cut, no byte flows from A to B in any connection, whoever dialled it, and new connections between them hang, as packets
 * vanish in a network. What was under way is delivered when the link heals, as TCP would, unless the cut also resets. A slow
 * direction delivers every byte so much later, in order, as a long way does.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer, connect, type Server, type Socket } from 'node:net';

/** A node and the proxy before it. */
export interface LinkedNode {
  readonly nodeId: number;
  readonly port: number;
  readonly proxyPort: number;
}

/** One direction of a link. */
export interface Direction {
  readonly from: number;
  readonly to: number;
}

/** One proxied connection. */
interface Tunnel {
  readonly dialer: number;
  readonly target: number;
  readonly inbound: Socket;
  outbound: Socket | undefined;
  /** Bytes that the dialler sends, and bytes that it gets; there once the target answered. */
  there: Flow | undefined;
  back: Flow | undefined;
}

/** What a slow link holds at most; more stays with the sender. */
const underWayBytesMax = 4 * 1024 * 1024;

/** Node id of a dialler that is no node. */
const stranger = 0;

/** See the file comment. */
export class ChaosLinks {
  readonly #cuts = new Map<string, number>();
  readonly #delaysMs = new Map<string, number>();
  readonly #tunnels = new Set<Tunnel>();
  readonly #processes = new Map<number, number>();
  readonly #servers: Server[] = [];
  readonly #ports = new Map<number, number>();

  /** Opens a proxy before every node. */
  static async open(nodes: readonly LinkedNode[]): Promise<ChaosLinks> {
    const links = new ChaosLinks();
    for (const node of nodes) await links.#listen(node);
    return links;
  }

  /** Says which process a node is now. */
  setProcess(node: number, pid: number | undefined): void {
    if (pid === undefined) this.#processes.delete(node);
    else this.#processes.set(node, pid);
  }

  /** Cuts directions until {@link ChaosLinks.heal} is called for them as often; `isReset` breaks what is connected. */
  cut(directions: readonly Direction[], isReset: boolean): void {
    for (const direction of directions) {
      const name = nameOf(direction);
      this.#cuts.set(name, (this.#cuts.get(name) ?? 0) + 1);
    }
    for (const tunnel of [...this.#tunnels]) {
      const isHit = directions.some(({ from, to }) => joins(tunnel, from, to));
      if (isHit && isReset) this.#drop(tunnel);
      else if (isHit) this.#regulate(tunnel);
    }
  }

  /** Ends cuts. */
  heal(directions: readonly Direction[]): void {
    for (const direction of directions) {
      const name = nameOf(direction);
      const left = (this.#cuts.get(name) ?? 1) - 1;
      if (left === 0) this.#cuts.delete(name);
      else this.#cuts.set(name, left);
    }
    for (const tunnel of [...this.#tunnels]) this.#regulate(tunnel);
  }

  /** Makes directions slow until it is called with 0; a later call replaces an earlier one. */
  delay(directions: readonly Direction[], delayMs: number): void {
    for (const direction of directions) this.#delaysMs.set(nameOf(direction), delayMs);
    for (const tunnel of [...this.#tunnels]) this.#regulate(tunnel);
  }

  /** Closes proxies and connections. */
  async close(): Promise<void> {
    const closed = this.#servers.map((server) => new Promise((done) => server.close(done)));
    for (const tunnel of [...this.#tunnels]) this.#drop(tunnel);
    await Promise.all(closed);
  }

  async #listen({ nodeId, port, proxyPort }: LinkedNode): Promise<void> {
    this.#ports.set(nodeId, port);
    const server = createServer({ allowHalfOpen: false, noDelay: true, pauseOnConnect: true });
    server.on('connection', (inbound) => {
      inbound.on('error', () => undefined);
      void this.#accept(nodeId, inbound);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(proxyPort, '127.0.0.1', resolve);
    });
    this.#servers.push(server);
  }

  async #accept(target: number, inbound: Socket): Promise<void> {
    const dialer = await this.#dialerOf(inbound.remotePort ?? 0);
    if (inbound.destroyed) return;
    const tunnel: Tunnel = {
      dialer,
      target,
      inbound,
      outbound: undefined,
      there: undefined,
      back: undefined,
    };
    this.#tunnels.add(tunnel);
    inbound.once('close', () => {
      this.#drop(tunnel);
    });
    this.#regulate(tunnel);
  }

  /** Makes a tunnel carry what the cuts allow. */
  #regulate(tunnel: Tunnel): void {
    const there = nameOf({ from: tunnel.dialer, to: tunnel.target });
    const back = nameOf({ from: tunnel.target, to: tunnel.dialer });
    const isThereOpen = !this.#cuts.has(there);
    const isBackOpen = !this.#cuts.has(back);
    if (tunnel.outbound === undefined && isThereOpen && isBackOpen) this.#connect(tunnel);
    tunnel.there?.regulate(isThereOpen, this.#delaysMs.get(there) ?? 0);
    tunnel.back?.regulate(isBackOpen, this.#delaysMs.get(back) ?? 0);
  }

  #connect(tunnel: Tunnel): void {
    const outbound = connect({
      host: '127.0.0.1',
      port: this.#ports.get(tunnel.target) ?? 0,
      noDelay: true,
    });
    outbound.on('error', () => undefined);
    outbound.once('close', () => {
      this.#drop(tunnel);
    });
    tunnel.outbound = outbound;
    tunnel.there = new Flow(tunnel.inbound, outbound);
    tunnel.back = new Flow(outbound, tunnel.inbound);
  }

  #drop(tunnel: Tunnel): void {
    if (!this.#tunnels.delete(tunnel)) return;
    tunnel.there?.stop();
    tunnel.back?.stop();
    tunnel.inbound.resetAndDestroy();
    tunnel.outbound?.resetAndDestroy();
  }

  /** Which node process owns the loopback socket with this local port. */
  async #dialerOf(port: number): Promise<number> {
    const inode = await inodeOfPort(port);
    if (inode === undefined) return stranger;
    for (const [node, pid] of this.#processes) {
      if (await ownsSocket(pid, inode)) return node;
    }
    return stranger;
  }
}

/** Both directions between two nodes. */
export function bothWays(one: number, other: number): readonly Direction[] {
  return [
    { from: one, to: other },
    { from: other, to: one },
  ];
}

/** Bytes on their way from one socket to the other. */
class Flow {
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #underWay: { readonly bytes: Buffer; readonly dueMs: number }[] = [];
  #underWayBytes = 0;
  #isOpen = false;
  /** The source said its last; the sink hears that behind what is under way. */
  #hasEnded = false;
  #delayMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: Socket, sink: Socket) {
    this.#source = source;
    this.#sink = sink;
    // Both stay paused until the flow is open.
    source.pause();
    source.on('data', (bytes: Buffer) => {
      this.#take(bytes);
    });
    source.once('end', () => {
      this.#hasEnded = true;
      this.#deliver();
    });
    sink.on('drain', () => {
      this.#deliver();
    });
  }

  regulate(isOpen: boolean, delayMs: number): void {
    this.#isOpen = isOpen;
    this.#delayMs = delayMs;
    this.#deliver();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#isOpen = false;
  }

  #take(bytes: Buffer): void {
    const lastDueMs = this.#underWay.at(-1)?.dueMs ?? 0;
    const dueMs = Math.max(lastDueMs, performance.now() + this.#delayMs);
    this.#underWay.push({ bytes, dueMs });
    this.#underWayBytes += bytes.length;
    this.#deliver();
  }

  #deliver(): void {
    clearTimeout(this.#timer);
    if (!this.#isOpen) {
      this.#source.pause();
      return;
    }
    const nowMs = performance.now();
    for (;;) {
      const [next] = this.#underWay;
      if (next === undefined || next.dueMs > nowMs || this.#sink.writableNeedDrain) break;
      this.#underWay.shift();
      this.#underWayBytes -= next.bytes.length;
      this.#sink.write(next.bytes);
    }
    const [first] = this.#underWay;
    if (first === undefined && this.#hasEnded) this.#sink.end();
    if (first !== undefined && !this.#sink.writableNeedDrain)
      this.#timer = setTimeout(
        () => {
          this.#deliver();
        },
        Math.max(1, first.dueMs - nowMs),
      );
    if (this.#underWayBytes < underWayBytesMax) this.#source.resume();
    else this.#source.pause();
  }
}

function nameOf({ from, to }: Direction): string {
  return `${from}>${to}`;
}

function joins({ dialer, target }: Tunnel, from: number, to: number): boolean {
  return (dialer === from && target === to) || (dialer === to && target === from);
}

async function inodeOfPort(port: number): Promise<string | undefined> {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const rows = (await readFile(table, 'utf8').catch(() => '')).split('\n');
    for (const row of rows) {
      const fields = row.trim().split(/\s+/);
      if (fields[1]?.endsWith(local) === true && fields[9] !== '0') return fields[9];
    }
  }
  return undefined;
}

async function ownsSocket(pid: number, inode: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const wanted = `socket:[${inode}]`;
  for (const descriptor of await readdir(folder).catch(() => [])) {
    const target = await readlink(`${folder}/${descriptor}`).catch(() => '');
    if (target === wanted) return true;
  }
  return false;
}
