/**
 * Versions of the software that nodes of a simulated cluster run, side by side. There is one version so far; others are this one
 * with what another one would say of itself, and with the frames that it would write.
 */
import { wireExtensions, type WireCapabilities } from '../codec/handshake.ts';
import { bodyBytesMax } from '../codec/wire-catalog.ts';
import type { NodeParts } from '../runtime/node-parts.ts';

/**
 * `older` knows no extension and lets no message have a tail that it does not know. `newer` knows more of them, reads the next
 * catalog as well, and frames entries with leaves, by BLAKE3 where everybody understands that. `next` speaks that catalog: `own`
 * and `older` do not understand it.
 */
export type SimVersion = 'own' | 'older' | 'newer' | 'next';

/** Versions that understand each other all. */
export const mixableVersions: readonly SimVersion[] = ['own', 'older', 'newer'];

const capabilitiesOf: Readonly<Record<SimVersion, Partial<WireCapabilities>>> = {
  own: {},
  older: { extensions: 0 },
  newer: {
    extensions: Object.values(wireExtensions).reduce((all, bit) => all | bit, 0),
    bodyBytesMax: 2 * bodyBytesMax,
    forwardParseMaxMinor: 1,
  },
  next: { catalogMinor: 1, forwardParseMaxMinor: 1 },
};

/** What a node of a version is made of, besides what every node is. */
export function partsOfVersion(
  version: SimVersion | undefined,
): Pick<NodeParts, 'capabilities' | 'merkleLeaves'> {
  const capabilities = capabilitiesOf[version ?? 'own'];
  const hasLeaves = version === 'newer' || version === 'next';
  return {
    capabilities,
    merkleLeaves: hasLeaves ? 'blake3' : 'none',
  };
}
