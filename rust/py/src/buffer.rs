//! Numeric columns and encoded rows by the buffer protocol: read-only views that keep the Rust
//! memory alive.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datagen_core::catalog::FieldType;
use datagen_core::column::{Batch, Values};
use datagen_core::encode::Encoded;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::border::position;

/// A numeric column, one-dimensional, read-only, by the buffer protocol.
#[pyclass(frozen, name = "Column", module = "datagen._core")]
pub struct PyColumn {
    source: Source,
    /// Number of values, where a view's shape points.
    len: isize,
}

enum Source {
    Column(Arc<Batch>, usize),
    Offsets(Arc<Encoded>),
}

impl PyColumn {
    /// The column at `position`, which must be numeric.
    pub fn of_batch(batch: Arc<Batch>, position: usize) -> Self {
        let len = batch.rows() as isize;
        Self { source: Source::Column(batch, position), len }
    }

    fn memory(&self) -> Memory {
        match &self.source {
            Source::Offsets(encoded) => Memory::new(&encoded.offsets, c"q"),
            Source::Column(batch, position) => {
                Memory::of(&batch.columns()[*position].values).expect("a numeric column")
            }
        }
    }
}

#[pymethods]
impl PyColumn {
    const fn __len__(&self) -> usize {
        self.len as usize
    }

    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        // SAFETY: the memory belongs to a frozen object, which the view keeps alive.
        unsafe { fill(view, flags, slf.as_any(), &slf.get().memory(), &slf.get().len) }
    }
}

/// Encoded rows end to end.
#[pyclass(frozen, name = "EncodedRows", module = "datagen._core")]
pub struct PyEncodedRows {
    encoded: Arc<Encoded>,
    /// Number of bytes, where a view's shape points.
    nbytes: isize,
}

impl From<Encoded> for PyEncodedRows {
    fn from(encoded: Encoded) -> Self {
        let nbytes = encoded.bytes.len() as isize;
        Self { encoded: Arc::new(encoded), nbytes }
    }
}

#[pymethods]
impl PyEncodedRows {
    #[getter]
    const fn nbytes(&self) -> isize {
        self.nbytes
    }

    /// ``len + 1`` int64 positions, from 0.
    #[getter]
    fn offsets(&self) -> PyColumn {
        let len = self.encoded.offsets.len() as isize;
        PyColumn { source: Source::Offsets(Arc::clone(&self.encoded)), len }
    }

    fn __len__(&self) -> usize {
        self.encoded.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Bound<'py, PyBytes>> {
        let row = position(index, self.encoded.len())?;
        Ok(PyBytes::new(py, self.encoded.get(row)))
    }

    fn __iter__(&self) -> PyEncodedRowsIterator {
        PyEncodedRowsIterator { encoded: Arc::clone(&self.encoded), next: AtomicUsize::new(0) }
    }

    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let memory = Memory::new(&slf.get().encoded.bytes, c"B");
        // SAFETY: the memory belongs to a frozen object, which the view keeps alive.
        unsafe { fill(view, flags, slf.as_any(), &memory, &slf.get().nbytes) }
    }

    fn __repr__(&self) -> String {
        format!("<EncodedRows, {} rows, {} bytes>", self.encoded.len(), self.nbytes)
    }
}

/// Makes each row a `bytes` object.
#[pyclass(frozen, name = "EncodedRowsIterator", module = "datagen._core")]
pub struct PyEncodedRowsIterator {
    encoded: Arc<Encoded>,
    next: AtomicUsize,
}

#[pymethods]
impl PyEncodedRowsIterator {
    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let row = self.next.fetch_add(1, Ordering::Relaxed);
        (row < self.encoded.len()).then(|| PyBytes::new(py, self.encoded.get(row)))
    }

    fn __length_hint__(&self) -> usize {
        self.encoded.len().saturating_sub(self.next.load(Ordering::Relaxed))
    }
}

/// Where values lie, and what they are in the notation of Python's `struct` module.
struct Memory {
    start: *const c_void,
    bytes: usize,
    item: usize,
    format: &'static CStr,
}

/// Whether fields of the type have numbers for values.
pub fn is_numeric(ty: FieldType) -> bool {
    Memory::of(&Values::empty(ty)).is_some()
}

impl Memory {
    /// Where the values of a numeric column lie.
    fn of(values: &Values) -> Option<Self> {
        match values {
            Values::I64(values) => Some(Self::new(values, c"q")),
            Values::I32(values) => Some(Self::new(values, c"i")),
            Values::I16(values) => Some(Self::new(values, c"h")),
            Values::Code(values) => Some(Self::new(values, c"B")),
            Values::Bool(values) => Some(Self::new(values, c"?")),
            Values::Uuid(_) | Values::Text(_) => None,
        }
    }

    fn new<T>(values: &[T], format: &'static CStr) -> Self {
        let start = values.as_ptr().cast();
        Self { start, bytes: size_of_val(values), item: size_of::<T>(), format }
    }
}

/// Fills a view, leaving out what the flags do not ask for, as `PyBuffer_FillInfo` does for bytes.
///
/// # Safety
/// `memory` and `len` must live as long as `owner`, and nothing may change them.
unsafe fn fill(
    view: *mut ffi::Py_buffer,
    flags: c_int,
    owner: &Bound<'_, PyAny>,
    memory: &Memory,
    len: &isize,
) -> PyResult<()> {
    // SAFETY: Python hands over a view that is null or that it owns.
    let Some(view) = (unsafe { view.as_mut() }) else {
        return Err(PyBufferError::new_err("no view to fill"));
    };
    view.obj = ptr::null_mut();
    if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
        return Err(PyBufferError::new_err("generated values cannot be written to"));
    }
    let asked = |flag: c_int| flags & flag == flag;
    view.buf = memory.start.cast_mut();
    view.len = memory.bytes as isize;
    view.readonly = 1;
    view.itemsize = memory.item as isize;
    view.format =
        if asked(ffi::PyBUF_FORMAT) { memory.format.as_ptr().cast_mut() } else { ptr::null_mut() };
    view.ndim = 1;
    view.shape = if asked(ffi::PyBUF_ND) { ptr::from_ref(len).cast_mut() } else { ptr::null_mut() };
    view.strides = if asked(ffi::PyBUF_STRIDES) { &raw mut view.itemsize } else { ptr::null_mut() };
    view.suboffsets = ptr::null_mut();
    view.internal = ptr::null_mut();
    view.obj = owner.clone().into_ptr();
    Ok(())
}
