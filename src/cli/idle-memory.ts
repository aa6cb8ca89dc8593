/**
 * Gives memory back while nobody uses a node. V8 keeps what a busy time took, in case of the next one: a node that has held the
 * elections of a thousand partitions would keep twice what it needs for as long as it sleeps. So when all its partitions
 * hibernate, the process collects its garbage; nobody waits for it then. It does so at a few looks in a row: V8 gives the space
 * of young objects back, half of it all, only where little was allocated for some seconds before. A small heap is left alone:
 * there is little to give back, and a collection costs compiled code what it knew, so that the node would begin anew at being
 * warm after every sleep.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ClustorNode } from '../index.ts';

const lookMs = 5_000;
const collections = 3;
/** A node of one partition has some 24 MB, one of a thousand 150. */
const heapBytesMin = 96 * 1024 * 1024;

/** Looks from time to time whether the node sleeps; returns how to stop. */
export function releaseMemoryWhenIdle(
  node: Pick<ClustorNode, 'isHibernating'>,
  heapBytes: () => number = () => process.memoryUsage().heapTotal,
): () => void {
  let left = collections;
  const timer = setInterval(() => {
    if (!node.isHibernating) left = collections;
    else if (left === collections && heapBytes() < heapBytesMin) left = 0;
    else if (left > 0) {
      left--;
      collectGarbage();
    }
  }, lookMs);
  timer.unref();
  return () => {
    clearInterval(timer);
  };
}

/** The collector is reachable from a context that is made while the flag is set; the context goes with the garbage. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  setFlagsFromString('--no-expose-gc');
  collect();
}
