/**
 * All nodes that the client knows of: those of its configuration and those that nodes named as members.
 *
 * An address of the configuration says nothing about which node is behind it, so a node can be known twice until both
 * connections are up; the one that came second is then closed and leaves its addresses to the first.
 */
import { assert } from '../base/assert.ts';
import { type ClustorError } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import type { NodeAddress } from '../ports/transport.ts';
import {
  ClientNode,
  isSameAddress,
  type ClientNodeListener,
  type ClientNodeOptions,
  type Description,
} from './client-node.ts';

/** Nodes beyond this are not dialed; a cluster has far fewer. */
const nodesMax = 256;

/** What a directory needs. */
export type NodeDirectoryOptions = Omit<ClientNodeOptions, 'listener'> & {
  readonly listener: ClientNodeListener;
};

/** See the file comment. */
export class NodeDirectory implements ClientNodeListener {
  readonly #options: ClientNodeOptions;
  readonly #listener: ClientNodeListener;
  readonly #nodes = new Set<ClientNode>();
  readonly #up = new Map<NodeId, ClientNode>();

  constructor(options: NodeDirectoryOptions) {
    this.#listener = options.listener;
    this.#options = { ...options, listener: this };
  }

  /** Every known node. */
  all(): Iterable<ClientNode> {
    return this.#nodes;
  }

  /** Nodes that can be asked now. */
  answering(): Iterable<ClientNode> {
    return this.#up.values();
  }

  /** How many nodes are known, and how many can be asked. */
  get counts(): { readonly known: number; readonly up: number } {
    return { known: this.#nodes.size, up: this.#up.size };
  }

  /** The connection to a node, while it is up. */
  get(nodeId: NodeId): ClientNode | undefined {
    return this.#up.get(nodeId);
  }

  /** Begins to dial the addresses of the configuration. */
  open(addresses: readonly NodeAddress[]): void {
    for (const address of addresses) {
      if (
        ![...this.#nodes].some((node) =>
          node.addresses.some((known) => isSameAddress(known, address)),
        )
      )
        this.#add([address], undefined);
    }
    for (const node of [...this.#nodes]) node.open();
  }

  /** Learns nodes from what a node says of the members of its partitions. */
  learn(description: Description): void {
    for (const partition of description.partitions)
      for (const member of partition.members) this.#learnMember(member.nodeId, member.address);
  }

  /** Somebody waits for a node that is not up. */
  hurry(nodeId: NodeId): void {
    for (const node of this.#nodes) if (node.nodeId === nodeId) node.hurry();
  }

  /** Destroys connections behind which nobody answers. */
  endSilence(nowMs: number): void {
    for (const node of [...this.#nodes]) node.endSilence(nowMs);
  }

  /** Closes all. */
  close(): void {
    for (const node of [...this.#nodes]) node.close();
    this.#nodes.clear();
    this.#up.clear();
  }

  nodeUp(node: ClientNode): void {
    const { nodeId } = node;
    assert(nodeId !== undefined, 'a node that is up has a name');
    const other = this.#up.get(nodeId);
    if (other !== undefined && other !== node) {
      other.addAddresses(node.addresses);
      this.#drop(node);
      return;
    }
    this.#up.set(nodeId, node);
    for (const twin of [...this.#nodes]) {
      if (twin === node || twin.nodeId !== nodeId || twin.expectedNodeId === undefined) continue;
      node.addAddresses(twin.addresses);
      this.#drop(twin);
    }
    this.#listener.nodeUp(node);
  }

  nodeDown(node: ClientNode): void {
    const { nodeId } = node;
    if (nodeId === undefined || this.#up.get(nodeId) !== node) return;
    this.#up.delete(nodeId);
    this.#listener.nodeDown(node);
  }

  nodeDrained(): void {
    this.#listener.nodeDrained();
  }

  nodeFailed(node: ClientNode, error: ClustorError): void {
    this.#listener.nodeFailed(node, error);
  }

  #learnMember(nodeId: NodeId, text: string): void {
    const address = addressOf(text);
    if (address === undefined) return;
    for (const node of this.#nodes) {
      if (node.nodeId === nodeId) {
        node.addAddresses([address]);
        return;
      }
      // A configured address that has not answered yet: it will say who it is.
      if (
        node.nodeId === undefined &&
        node.addresses.some((known) => isSameAddress(known, address))
      )
        return;
    }
    if (this.#nodes.size < nodesMax) this.#add([address], nodeId).open();
  }

  #add(addresses: readonly NodeAddress[], expectedNodeId: NodeId | undefined): ClientNode {
    const node = new ClientNode(addresses, expectedNodeId, this.#options);
    this.#nodes.add(node);
    return node;
  }

  #drop(node: ClientNode): void {
    this.#nodes.delete(node);
    node.close();
  }
}

/** `host:port` as an address; what cannot be one is left out, since another process wrote it. */
function addressOf(text: string): NodeAddress | undefined {
  const colon = text.lastIndexOf(':');
  const port = Number(text.slice(colon + 1));
  const name = text.slice(0, Math.max(0, colon));
  const host = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name;
  return host !== '' && Number.isInteger(port) && port > 0 && port < 65_536
    ? { host, port }
    : undefined;
}
