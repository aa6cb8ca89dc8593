/** The one function that is used of `hash-wasm`: a build takes what is imported by name, and all of what is imported later. */
export { createBLAKE3 } from 'hash-wasm';
