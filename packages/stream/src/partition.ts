/** Which partition a name belongs to. */
import { crc32 } from 'node:zlib'

/**
 * CRC-32 (ISO-HDLC, as in zlib and gzip) of the name, modulo the number of partitions: any language has it at hand, so that an
 * operator can compute where a conversation lives.
 * @param name a conversation id, or a user id for keys that belong to a user
 */
export const partitionOf = (name: string, partitions: number): number => crc32(name) % partitions
