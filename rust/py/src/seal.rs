//! AES-256-GCM for secrets at rest. The library is in the extension anyway, for TLS; a Python one would cost
//! six more megabytes of memory.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::errors::CoreError;

const KEY_LEN: usize = 32;

/// Encrypts and authenticates; the tag of 16 bytes follows the ciphertext. A nonce must never be used twice
/// with one key.
#[pyfunction]
pub(crate) fn aes_gcm_seal<'py>(
    py: Python<'py>,
    key: &[u8],
    nonce: &[u8],
    plaintext: &[u8],
    associated: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let (key, nonce) = checked(key, nonce)?;
    let mut data = plaintext.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(associated), &mut data)
        .map_err(|_| CoreError::new_err("the value is too long to seal"))?;
    Ok(PyBytes::new(py, &data))
}

/// Decrypts what [`aes_gcm_seal`] made with the same key, nonce and associated data; `None` when it was not.
#[pyfunction]
pub(crate) fn aes_gcm_open<'py>(
    py: Python<'py>,
    key: &[u8],
    nonce: &[u8],
    sealed: &[u8],
    associated: &[u8],
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let (key, nonce) = checked(key, nonce)?;
    let mut data = sealed.to_vec();
    let opened = key.open_in_place(nonce, Aad::from(associated), &mut data);
    Ok(opened.ok().map(|plaintext| PyBytes::new(py, plaintext)))
}

fn checked(key: &[u8], nonce: &[u8]) -> PyResult<(LessSafeKey, Nonce)> {
    let wrong = |what: &str, len: usize, want: usize| {
        CoreError::new_err(format!("{what} of {len} bytes; expected {want}"))
    };
    let unbound = UnboundKey::new(&AES_256_GCM, key).map_err(|_| wrong("key", key.len(), KEY_LEN))?;
    let nonce =
        Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong("nonce", nonce.len(), NONCE_LEN))?;
    Ok((LessSafeKey::new(unbound), nonce))
}
