/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(attention) = {
    { "attention", "three documents and a dead row", "q!:f32[9,24] k!:f32[9,8] v!:f32[9,8] seq:i32[9]=0,0,0,1,2,2,2,2,-1 q_start:i32[4]=0,3,4,8",
      "n_heads=6 n_kv_heads=2 head_size=4 window=0 scale=0.5", "normal" },
    { "attention", "window of two", "q!:f32[6,10] k!:f32[6,5] v!:f32[6,5] seq:i32[6]=0,0,0,0,0,1 q_start:i32[3]=0,5,6",
      "n_heads=2 n_kv_heads=1 head_size=5 window=2 scale=0.4", "normal" },
    { "attention", "the heads of SmolLM2", "q:f32[40,576] k:f32[40,192] v:f32[40,192] seq:i32[40]<1 q_start:i32[2]=0,40",
      "n_heads=9 n_kv_heads=3 head_size=64 window=0 scale=0.125", "normal" },
    { "attention", "longer than a block", "q:f32[150,32] k:f32[150,16] v:f32[150,16] seq:i32[150]<1 q_start:i32[2]=0,150",
      "n_heads=2 n_kv_heads=1 head_size=16 window=0 scale=0.25", "normal" },
    { "attention", "large scores", "q:f32[20,16] k:f32[20,16] v:f32[20,16] seq:i32[20]<1 q_start:i32[2]=0,20",
      "n_heads=1 n_kv_heads=1 head_size=16 window=0 scale=30", "normal" },
    { "attention", "heads do not divide", "q:f32[4,24] k:f32[4,16] v:f32[4,16] seq:i32[4]<1 q_start:i32[2]=0,4",
      "n_heads=6 n_kv_heads=4 head_size=4 window=0 scale=0.5", "refused:E_ARG" },
    { "attention", "k too narrow", "q:f32[4,24] k:f32[4,4] v:f32[4,8] seq:i32[4]<1 q_start:i32[2]=0,4",
      "n_heads=6 n_kv_heads=2 head_size=4 window=0 scale=0.5", "refused:E_SHAPE" },
    { "attention_bwd", "two documents", "q:f32[40,32] k:f32[40,16] v:f32[40,16] o:f32[40,32] lse:f32[40,4] do:f32[40,32] seq:i32[40]<1 q_start:i32[2]=0,40",
      "n_heads=4 n_kv_heads=2 head_size=8 window=0 scale=0.35", "small" },
    { "attention_paged", "decode and prefill together",
      "q:f32[5,24] k:f32[5,4,8] v:f32[5,4,8] seq:i32[5]=0,1,1,1,-1 pos:i32[5]=9,0,1,2,0 page:i32[2,3]=4,2,0,1,3,3", "n_heads=6 n_kv_heads=2 head_size=4 window=0 scale=0.5", "normal" },
    { "attention_paged", "f16 cache, window", "q:f32[2,32] k:f16[3,4,16] v:f16[3,4,16] seq:i32[2]=0,0 pos:i32[2]=10,11 page:i32[1,3]=2,0,1",
      "n_heads=2 n_kv_heads=1 head_size=16 window=5 scale=0.25", "normal" },
    { "attention_paged", "the heads of SmolLM2, 100 keys", "q:f32[1,576] k:f32[7,16,192] v:f32[7,16,192] seq:i32[1]=0 pos:i32[1]=99 page:i32[1,7]=6,5,4,3,2,1,0",
      "n_heads=9 n_kv_heads=3 head_size=64 window=0 scale=0.125", "normal" },
    { "attention_paged", "cache of another width", "q:f32[1,24] k:f32[5,4,9] v:f32[5,4,8] seq:i32[1]=0 pos:i32[1]=0 page:i32[1,1]=0",
      "n_heads=6 n_kv_heads=2 head_size=4 window=0 scale=0.5", "refused:E_SHAPE" },
    { 0 }
};
